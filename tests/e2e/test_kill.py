"""kill -9 at random, of the service, PostgreSQL or both, in a stream of writes: what was acknowledged is there."""

import http.client
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from favsync.core.fields import canonical
from tests.e2e.service import Service, postgres_pid, workers_of

ROUNDS = int(os.environ.get("TEST_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("TEST_KILL_SEED", "20170502"))
WRITERS = 4
LEGACY = "/postUserFavorites"
DECLARED = """
[entities.notes.fields]
text = { type = "string", required = true }
n = { type = "number" }
"""


class Told(NamedTuple):
    """A version as a writer sent it, `fields` canonical. A writer sends no two of one date for one record."""

    at: str
    action: str
    fields: bytes | None


class Writer(threading.Thread):
    """One user, who writes on and on and remembers what was acknowledged, and what may or may not have been stored."""

    def __init__(self, service: Service, number: int, seed: int, *, notes: bool = True) -> None:
        super().__init__(daemon=True)
        self._notes = notes
        self._service = service
        self._chance = random.Random(seed)
        self.user = f"writer-{number}"
        self.clock = 0
        self.acknowledged: dict[tuple[str, str], Told] = {}  # by entity and item
        self.offered: dict[str, dict[tuple[str, str], Told]] = {}  # whole requests, by their date
        self.confirmations = 0
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            self.clock += 1
            at = f"2020-01-{1 + self.clock // 86400:02d}T{self.clock // 3600 % 24:02d}:{self.clock // 60 % 60:02d}:{self.clock % 60:02d}.000Z"  # noqa: E501
            sent = {"favorites": self._records("favorites", at)}
            path = self._chance.choice(["/sync", "/sync", LEGACY]) if self._notes else LEGACY
            if path == "/sync":
                sent["notes"] = self._records("notes", at)
            offered = {(name, one["item"]): _told(one) for name, records in sent.items() for one in records}
            self.offered[at] = offered
            content = sent["favorites"] if path == LEGACY else sent
            try:
                answer = self._service.request("POST", path, content, user=self.user, timeout_s=20)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if answer.status == 200:
                receipts = answer.content["receipts"]
                lists = [receipts] if path == LEGACY else receipts.values()
                assert {receipt["outcome"] for one in lists for receipt in one} == {"applied"}
                self.acknowledged |= offered
                self.confirmations += 1
            else:
                assert answer.status == 503, answer

    def _records(self, name: str, at: str) -> list[dict[str, Any]]:
        action = self._chance.choice(["ADD", "ADD", "DELETE"])
        records: list[dict[str, Any]] = [
            {"item": f"item{item}", "actionDate": at, "action": action}
            for item in self._chance.sample(range(30), self._chance.randrange(1, 6))
        ]
        if name == "notes" and action == "ADD":
            for record in records:
                text = self._chance.choice(["", "\U0001f600", "ü" * 4000]) + str(self._chance.random())
                record["fields"] = {"text": text, "n": self._chance.choice([1.0, 1e21, self._chance.random()])}
        return records

    def check(self) -> None:
        """What was acknowledged by now is in what is read from now on; the writer meanwhile goes on.

        And of what was not acknowledged, a request is there as a whole or not at all.
        """
        acknowledged = self.acknowledged.copy()
        deadline = time.monotonic() + 30
        while (answer := self._service.request("GET", "/sync", user=self.user)).status == 503:
            assert time.monotonic() < deadline  # one worker may have the database again before another
            time.sleep(0.05)
        assert answer.status == 200, answer
        stored = {(name, one["item"]): _told(one) for name, records in answer.content.items() for one in records}
        for key, told in acknowledged.items():
            assert stored[key].at >= told.at, f"{self.user} was told that {key} is {told}; it is {stored[key]}"
        for key, told in stored.items():
            request = self.offered[told.at]
            assert request[key] == told, f"{self.user} never wrote {told} to {key}"
            for other in request:
                assert stored[other].at >= told.at, f"{self.user} wrote {other} with {key} at {told.at}: half is there"


def _told(record: dict[str, Any]) -> Told:
    content = record.get("fields")
    return Told(record["actionDate"], record["action"], None if content is None else canonical(content))


def _kill(victims: str, service: Service, postgres: int) -> None:
    if "worker" in victims:
        for pid in workers_of(service)[:1]:
            os.kill(pid, signal.SIGKILL)
    if "service" in victims:
        service.process.send_signal(signal.SIGKILL)
    if "postgres" in victims:
        os.kill(postgres, signal.SIGKILL)
    if "service" in victims:
        service.process.wait()


@pytest.mark.timeout(60 + 30 * ROUNDS)
@pytest.mark.parametrize(
    ("workers", "rounds", "choice"),
    [
        (1, ROUNDS, ["service", "postgres", "service and postgres"]),
        (2, ROUNDS // 4, ["worker", "service", "postgres and worker"]),
    ],
)
def test_what_was_acknowledged_is_there(
    data_dir: Path, tmp_path: Path, workers: int, rounds: int, choice: list[str]
) -> None:
    chance = random.Random(SEED)
    config = tmp_path / "favsync.toml"
    config.write_text(DECLARED)
    service = Service(data_dir=data_dir, config=config, workers=workers)
    service.start()
    writers = [Writer(service, number, chance.randrange(2**32)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        for turn in range(rounds):
            before = sum(writer.confirmations for writer in writers)
            time.sleep(chance.uniform(0.05, 0.6))
            while sum(writer.confirmations for writer in writers) < before + 5:
                time.sleep(0.01)
            victims = chance.choice(choice)
            _kill(victims, service, postgres_pid(data_dir))
            if "service" in victims:
                service.start()
            elif "postgres" in victims:
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
