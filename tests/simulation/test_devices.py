"""Two devices and a backend, offline for as long as they like: the same state everywhere in the end.

A state machine over real HTTP, real processes and a real PostgreSQL. Hypothesis looks for a history that breaks it, and
prints the shortest that does.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.e2e.service import Service

GET = "/getUserFavorites"
POST = "/postUserFavorites"
ITEMS = ["session_1", "session_2", "é", "\U0001f600"]
USERS = itertools.count()

State = dict[str, tuple[str, bool]]  # item: date, deleted; the law is that the greater one stands
DEVICES = st.integers(0, 1)
SERVICES = st.integers(0, 1)
changes = st.tuples(st.sampled_from(ITEMS), st.integers(0, 5), st.booleans())


def _wire(item: str, at: int, deleted: bool) -> dict[str, str]:
    return {
        "item": item,
        "actionDate": f"2020-01-01T00:00:0{at}.000Z",
        "action": "DELETE" if deleted else "ADD",
    }


def _learn(state: State, records: list[dict[str, str]]) -> None:
    for record in records:
        version = (record["actionDate"], record["action"] == "DELETE")
        state[record["item"]] = max(state.get(record["item"], version), version)


@dataclass
class Device:
    state: State = field(default_factory=dict)
    queue: list[dict[str, str]] = field(default_factory=list)
    cursor: str | None = None


class World(RuleBasedStateMachine):
    services: list[Service]

    @initialize()
    def begin(self) -> None:
        self.user = f"user-{next(USERS)}"
        self.devices = [Device(), Device()]
        self.server: State = {}

    def _ask(self, service: int, method: str, path: str, content: Any = None, prefer: str = "") -> Any:
        headers = {"Prefer": prefer}
        answer = self.services[service].request(method, path, content, user=self.user, headers=headers)
        assert answer.status == 200, answer
        return answer

    @rule(device=DEVICES, change=changes)
    def somebody_taps(self, device: int, change: tuple[str, int, bool]) -> None:
        record = _wire(*change)
        self.devices[device].queue.append(record)
        _learn(self.devices[device].state, [record])

    @rule(
        device=DEVICES,
        service=SERVICES,
        shuffle=st.randoms(use_true_random=False),
        again=st.booleans(),
        one_round_trip=st.booleans(),
    )
    def device_syncs(self, device: int, service: int, shuffle: Any, again: bool, one_round_trip: bool) -> None:
        """Sends its queue in any order, perhaps twice because an answer was lost, and reads what changed."""
        one = self.devices[device]
        sent = list(one.queue)
        shuffle.shuffle(sent)
        after = f"?after={one.cursor}" if one.cursor else ""
        for _ in range(1 + again):
            if one_round_trip:
                answer = self._ask(service, "POST", POST + after, sent, prefer="return=representation")
            else:
                receipts = self._ask(service, "POST", POST, sent).content["receipts"]
                self._check_receipts(sent, receipts)
                answer = self._ask(1 - service, "GET", GET + after)
            _learn(self.server, sent)
        one.queue.clear()
        one.cursor = answer.headers["Sync-Cursor"]
        _learn(one.state, answer.content)
        assert one.state == self.server

    @rule(service=SERVICES, batch=st.lists(changes, max_size=4))
    def backend_writes(self, service: int, batch: list[tuple[str, int, bool]]) -> None:
        sent = [_wire(*change) for change in batch]
        self._check_receipts(sent, self._ask(service, "POST", POST, sent).content["receipts"])
        _learn(self.server, sent)

    def _check_receipts(self, sent: list[dict[str, str]], receipts: list[dict[str, str]]) -> None:
        state = dict(self.server)
        for record, receipt in zip(sent, receipts, strict=True):
            before = state.get(record["item"])
            _learn(state, [record])
            offered = (record["actionDate"], record["action"] == "DELETE")
            changed = state[record["item"]] != before
            expected = "applied" if changed else "duplicate" if offered == before else "superseded"
            assert receipt["outcome"] == expected
            assert (receipt["actionDate"], receipt["action"] == "DELETE") == state[record["item"]]

    @rule(device=DEVICES)
    def device_is_wiped(self, device: int) -> None:
        self.devices[device] = Device()

    @rule(service=SERVICES)
    def backend_reads(self, service: int) -> None:
        content = self._ask(service, "GET", GET).content
        assert [record["item"] for record in content] == sorted(self.server)
        state: State = {}
        _learn(state, content)
        assert state == self.server

    def teardown(self) -> None:
        if not hasattr(self, "devices"):
            return
        for _ in range(2):
            for number, device in enumerate(self.devices):
                self._ask(number, "POST", POST, device.queue)
                _learn(self.server, device.queue)
                device.queue.clear()
                after = f"?after={device.cursor}" if device.cursor else ""
                _learn(device.state, self._ask(1 - number, "GET", GET + after).content)
        assert self.devices[0].state == self.devices[1].state == self.server


@pytest.mark.timeout(600)
def test_the_same_state_everywhere(services: list[Service]) -> None:
    machine = type("RunningWorld", (World,), {"services": services})
    examples = max(settings.default.max_examples // 2, 50) if settings.default else 50
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=20))
