"""examples/favsync.http is true: each of its requests answers what the line above it says."""

import asyncio
import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from favsync.http.problems import TABLE
from tests.e2e.service import Service, token
from tests.postgres import Server

FILE = Path(__file__).parents[2] / "examples" / "favsync.http"
# A slow body, one of a megabyte, a thousand requests a second, and a
# database that is away.
NOT_BY_HAND = {408, 413, 429, 503}


class Request(NamedTuple):
    title: str
    status: int
    method: str
    url: str
    headers: dict[str, str]
    body: str


def _requests(text: str) -> Iterator[Request]:
    for block in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n\n")
        title, announced, request, *headers = head.splitlines()
        status = re.match(r"# Answers (\d{3})\b", announced)
        assert status, title
        method, url = request.split()
        yield Request(title, int(status[1]), method, url, dict(line.split(": ", 1) for line in headers), body.strip())


def test_each_request_answers_the_status_it_announces(postgres: Server) -> None:
    text = FILE.read_text()
    variables = dict(re.findall(r"^@(\w+) = (.*)$", text, re.MULTILINE))
    name = asyncio.run(postgres.create_database())
    requests = list(_requests(text))
    with Service(database_url=postgres.dsn(name), config=FILE.parent / "entities.toml") as service:
        variables |= {"base": service.url, "token": token("ann"), "backend": token("importer", "sync:any", "feed:read")}
        for request in requests:
            filled = {key: _fill(value, variables) for key, value in request.headers.items()}
            answer = _send(request.method, _fill(request.url, variables), filled, request.body)
            assert answer.status == request.status, request.title
            if "Paste" in text.partition(f"### {request.title}\n")[2].partition("\n###")[0]:
                variables |= {"cursor": answer.headers["Sync-Cursor"], "etag": answer.headers["ETag"]}
        stored = {record["item"] for record in service.request("GET", "/getUserFavorites").content}
    asyncio.run(postgres.drop_database(name))
    assert stored == {f"session_{number}" for number in (21982, 114582, 7, 8, 9, 11)}
    assert {request.status for request in requests} == {
        200, 204, 304, 404, 405, *({problem.status for problem in TABLE.values()} - NOT_BY_HAND),
    }  # fmt: skip


def _fill(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: variables[match[1]], text)


def _send(method: str, url: str, headers: dict[str, str], body: str) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body or None, headers)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()
