# The service for a PostgreSQL of yours: without the embedded one, without tools, under an account without rights.
# tests/deploy/test_image.py runs what stands here.

FROM python:3.11-slim AS build
WORKDIR /build
COPY deploy/build.lock deploy/runtime.lock ./
RUN python -m venv tools && tools/bin/pip install --quiet --require-hashes --no-deps -r build.lock
RUN python -m venv --without-pip /app && \
    tools/bin/pip --python /app/bin/python install --quiet --require-hashes --no-deps --only-binary :all: -r runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY sql sql
RUN tools/bin/pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir dist . && \
    tools/bin/pip --python /app/bin/python install --quiet --no-deps --no-index dist/*.whl

FROM python:3.11-slim
ARG REVISION=unknown
LABEL org.opencontainers.image.title="favsync" \
      org.opencontainers.image.description="Two-way synchronisation of favourites and other per-user records" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /app /app
# Modules were compiled when they were installed; nothing is written at run time.
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A favsync.toml that is mounted here is read.
WORKDIR /etc/favsync
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# /healthz, not /readyz: an unhealthy container is replaced, and that mends no database that is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; port = os.environ.get('FAVSYNC_PORT') or '8080'; \
         r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + port + '/healthz', timeout=4)"]
CMD ["favsync", "serve", "--host", "0.0.0.0"]
