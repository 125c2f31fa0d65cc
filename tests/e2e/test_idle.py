"""Clients that have all they asked for, and keep their connection: what is left of their requests here."""

import contextlib
import http.client
from urllib.parse import urlsplit

import psutil
import pytest

from tests.e2e.service import Service, token

LIST = 5000  # records, of some 1.4 MB as a list
CLIENTS = 100
ALLOWED_MIB = 60  # of lists in the making, while the last of them are read


def _rss_mib(service: Service) -> float:
    return float(psutil.Process(service.process.pid).memory_info().rss) / 2**20


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_an_answer_that_was_read_is_forgotten(dsn: str, coding: str) -> None:
    with Service(database_url=dsn, keepalive_timeout="60s") as service, contextlib.ExitStack() as kept:
        for start in range(0, LIST, 1000):
            records = [
                {"item": f"{item:05}" + "x" * 200, "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
                for item in range(start, start + 1000)
            ]
            assert service.request("POST", "/postUserFavorites", records).status == 200
        headers = {"Authorization": f"Bearer {token('ann')}", "Accept-Encoding": coding}
        before_mib = None
        for number in range(CLIENTS):
            client = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30)
            kept.callback(client.close)
            client.request("GET", "/getUserFavorites", headers=headers)
            answer = client.getresponse()
            size = len(answer.read())
            assert (answer.status, answer.headers.get("Content-Encoding", "identity")) == (200, coding)
            assert size > 1_000_000 or coding == "gzip"
            if number == 2:
                before_mib = _rss_mib(service)  # which has made lists
        assert before_mib is not None
        assert _rss_mib(service) < before_mib + ALLOWED_MIB
