"""kill -9 at random, of the service, PostgreSQL or both, in a stream of writes: what was acknowledged is there."""

import http.client
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.service import Service, postgres_pid

ROUNDS = int(os.environ.get("TEST_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("TEST_KILL_SEED", "20170502"))
WRITERS = 4
GET = "/getUserFavorites"
POST = "/postUserFavorites"


class Writer(threading.Thread):
    """One user, who writes on and on and remembers what was acknowledged, and what may or may not have been stored."""

    def __init__(self, service: Service, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._service = service
        self._chance = random.Random(seed)
        self.user = f"writer-{number}"
        self.clock = 0
        self.acknowledged: dict[str, tuple[str, str]] = {}
        self.offered: dict[str, set[tuple[str, str]]] = {}
        self.confirmations = 0
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            self.clock += 1
            at = f"2020-01-{1 + self.clock // 86400:02d}T{self.clock // 3600 % 24:02d}:{self.clock // 60 % 60:02d}:{self.clock % 60:02d}.000Z"  # noqa: E501
            items = self._chance.sample(range(30), self._chance.randrange(1, 6))
            action = self._chance.choice(["ADD", "DELETE"])
            sent = [{"item": f"item{item}", "actionDate": at, "action": action} for item in items]
            for record in sent:
                self.offered.setdefault(record["item"], set()).add((at, action))
            try:
                answer = self._service.request("POST", POST, sent, user=self.user, timeout_s=20)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if answer.status == 200:
                assert {receipt["outcome"] for receipt in answer.content["receipts"]} == {"applied"}
                self.acknowledged |= {record["item"]: (at, action) for record in sent}
                self.confirmations += 1
            else:
                assert answer.status == 503, answer

    def check(self) -> None:
        """What was acknowledged by now is in what is read from now on; the writer meanwhile goes on."""
        acknowledged = self.acknowledged.copy()
        answer = self._service.request("GET", GET, user=self.user)
        assert answer.status == 200, answer
        stored = {record["item"]: (record["actionDate"], record["action"]) for record in answer.content}
        for item, version in acknowledged.items():
            assert stored[item] >= version, f"{self.user} was told that {item} is {version}; it is {stored[item]}"
        for item, version in stored.items():
            assert version in self.offered[item], f"{self.user} never wrote {version} to {item}"


def _kill(victims: str, service: Service, postgres: int) -> None:
    if "service" in victims:
        service.process.send_signal(signal.SIGKILL)
    if "postgres" in victims:
        os.kill(postgres, signal.SIGKILL)
    if "service" in victims:
        service.process.wait()


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_what_was_acknowledged_is_there(data_dir: Path) -> None:
    chance = random.Random(SEED)
    service = Service(data_dir=data_dir)
    service.start()
    writers = [Writer(service, number, chance.randrange(2**32)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        for turn in range(ROUNDS):
            before = sum(writer.confirmations for writer in writers)
            time.sleep(chance.uniform(0.05, 0.6))
            while sum(writer.confirmations for writer in writers) < before + 5:
                time.sleep(0.01)
            victims = chance.choice(["service", "postgres", "service and postgres"])
            _kill(victims, service, postgres_pid(data_dir))
            if "service" in victims:
                service.start()
            else:
                _until_ready(service)
            for writer in writers:
                assert writer.is_alive(), f"round {turn}, seed {SEED}"
                writer.check()
    finally:
        for writer in writers:
            writer.stopping = True
        for writer in writers:
            writer.join(30)
        service.stop()


def _until_ready(service: Service) -> None:
    deadline = time.monotonic() + 30
    service.wait_for("the embedded PostgreSQL ended; starting it again")
    while service.request("GET", "/readyz", user=None).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
