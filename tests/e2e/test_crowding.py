"""One who asks for much at once, and the others beside."""

import threading
import time

from tests.e2e.service import Answer, Service, token

HOGS = 100
READ_S = 8.0
PATIENCE_S = 2.0
BUSY = "Too many requests as large as this one wait just now. Send the same request again."


def _record(item: str) -> dict[str, str]:
    return {"item": item, "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}


def test_what_one_reads_in_bulk_keeps_nobody_else_waiting(dsn: str) -> None:
    """Whoever else reads and writes is answered, and so is the probe; who is refused is told why."""
    with Service(database_url=dsn) as service:
        for start in range(0, 10_000, 1000):
            records = [_record(f"{item:05}" + "x" * 200) for item in range(start, start + 1000)]
            assert service.request("POST", "/postUserFavorites", records, user="hog").status == 200
        stop = threading.Event()
        answers: list[Answer] = []

        def read_much() -> None:
            while not stop.is_set():
                answers.append(service.request("GET", "/getUserFavorites", user="hog"))

        hogs = [threading.Thread(target=read_much) for _ in range(HOGS)]
        for hog in hogs:
            hog.start()
        try:
            time.sleep(1)
            until = time.monotonic() + READ_S
            while time.monotonic() < until:
                _ask_little(service)
        finally:
            stop.set()
            for hog in hogs:
                hog.join(30)
        assert [answer for answer in answers if answer.status == 200]
        assert {(one.status, one.content["detail"]) for one in answers if one.status != 200} <= {(503, BUSY)}


def _ask_little(service: Service) -> None:
    headers = {"Authorization": f"Bearer {token('ann', 'feed:read')}"}
    for method, path, content in (
        ("GET", "/readyz", None),
        ("GET", "/getUserFavorites", None),
        ("GET", "/getUserFavorites?limit=1", None),
        ("GET", "/feed/favorites?limit=10", None),
        ("POST", "/postUserFavorites", [_record("a")]),
    ):
        began = time.monotonic()
        assert service.request(method, path, content, user=None, headers=headers).status == 200
        assert time.monotonic() - began < PATIENCE_S, path
