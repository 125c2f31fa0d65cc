# Every target brings its own tools: nothing has to be installed first but Python >= 3.11 with venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help serve test lint format mutants kill audit drill bench bench-feed bench-links bench-peers fuzz lock clean

help: ## This list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

# What is installed is told by a sum of the lock file and of the project's own metadata, not by dates, which a
# checkout rewrites, nor by how the tools are set up.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "favsync needs Python 3.11 or newer; say which with PYTHON=..." >&2; exit 1; }
	@sum=$$(sed '/^\[tool/,$$d' pyproject.toml | cat requirements.lock - | cksum); \
	if [ "$$(cat $(STAMP) 2>/dev/null)" = "$$sum" ]; then touch $(STAMP); else \
	  set -e; echo "installing into $(VENV) (once, until the lock file changes)" >&2; rm -rf $(VENV); \
	  $(PYTHON) -m venv $(VENV) || { echo "Python has no venv: apt-get install python3-venv" >&2; exit 1; }; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .; \
	  echo "$$sum" > $(STAMP); \
	fi

serve: $(STAMP) ## Run the service with a PostgreSQL of its own, and print curl lines to try
	@exec $(BIN)/favsync serve

# Two at a time: most wait for something most of the time.
test: $(STAMP) ## Run every test; core must be covered to the last branch
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov=favsync.core --cov-branch --cov-fail-under=100 --cov-report=term-missing:skip-covered

lint: $(STAMP) ## ruff, mypy --strict and the layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## Put the code into its standard form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

mutants: $(STAMP) ## Mutate core/, one fault at a time: the tests must find each
	$(BIN)/mutmut run
	@survivors=$$($(BIN)/mutmut results); echo "$$survivors"; test -z "$$survivors"

kill: $(STAMP) ## The long form of the kill -9 test: 200 rounds
	TEST_KILL_ROUNDS=200 $(BIN)/python -m pytest tests/e2e/test_kill.py

audit: $(STAMP) ## The long form of the audit of the feeds: 100,000 versions, another seed each time
	TEST_AUDIT_VERSIONS=100000 TEST_AUDIT_SEED=$$(date +%s) $(BIN)/python -m pytest -s tests/simulation/test_feed_audit.py

drill: $(STAMP) ## The long form of killing and stopping sequencers: 200 rounds
	TEST_SEQUENCER_ROUNDS=200 $(BIN)/python -m pytest --timeout 3600 tests/simulation/test_sequencer_faults.py

# `make bench ONLY="rows sizes"` renews these parts of what is kept.
bench: $(STAMP) ## Measure the service against its database, and draw the chart; needs wrk
	$(BIN)/python -m bench.service $(addprefix --only ,$(ONLY))

bench-feed: $(STAMP) ## Measure the feeds: latency, a million changes, a thousand streams
	$(BIN)/python -m bench.feed $(addprefix --only ,$(ONLY))

bench-links: $(STAMP) ## Measure 10,000 links with one peer: cycles a second, fairness, memory
	$(BIN)/python -m bench.links

bench-peers: $(STAMP) ## Measure the service against Kinto, which is installed into build/; needs wrk
	$(BIN)/python -m bench.peers

fuzz: $(STAMP) ## Try what the OpenAPI document allows: 5,000 examples an operation, another seed each time
	TEST_FUZZ_EXAMPLES=5000 TEST_FUZZ_SEED=$$(date +%s) $(BIN)/python -m pytest -s tests/e2e/test_openapi.py

# `make lock UPGRADE=` keeps the versions that are locked. What is deployed is locked apart, in the same versions.
UPGRADE := --upgrade
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-emit-find-links --no-header --quiet
COMPILE_AS_LOCKED := $(COMPILE) --constraints requirements.lock --no-annotate --upgrade
ASKED_FOR := $(BIN)/python -c 'import functools, sys, tomllib; \
  print(*functools.reduce(dict.get, sys.argv[1:], tomllib.load(open("pyproject.toml", "rb"))), sep="\n")'

lock: $(STAMP) ## Renew requirements.lock from pyproject.toml, the locks in deploy/ from it, and Kinto's in bench/
	$(COMPILE) pyproject.toml --extra embedded --group dev $(UPGRADE) -o requirements.lock
	$(COMPILE_AS_LOCKED) pyproject.toml -o deploy/runtime.lock
	$(ASKED_FOR) project optional-dependencies embedded | $(COMPILE_AS_LOCKED) - -o deploy/embedded.lock
	$(ASKED_FOR) build-system requires | $(COMPILE_AS_LOCKED) - -o deploy/build.lock
	$(COMPILE) --no-annotate bench/kinto/requirements.in $(UPGRADE) -o bench/kinto/requirements.txt

clean: ## Remove everything that can be made again
	rm -rf $(VENV) build dist mutants .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +
