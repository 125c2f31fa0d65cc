"""A plain client (http.client, json) that reads a feed to its end, and looks at each change.

`python -m bench.reader URL pages|events COUNT LIMIT TOKEN` says that it is there, begins on a line, and tells in
JSON how long it took.
"""

import http.client
import json
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

PATH = "/feed/favorites"
CHUNK_BYTES = 64 * 1024


def pages(connection: http.client.HTTPConnection, token: str, limit: int) -> Iterator[list[Any]]:
    """The changes of each page."""
    headers = {"Authorization": f"Bearer {token}"}
    cursor, more = "", True
    while more:
        connection.request("GET", f"{PATH}?limit={limit}{cursor}", headers=headers)
        page = json.loads(_ok(connection).read())
        cursor, more = f"&after={page['cursor']}", page["hasMore"]
        yield page["changes"]


def events(connection: http.client.HTTPConnection, token: str) -> Iterator[list[Any]]:
    """The changes as they come, without an end."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    connection.request("GET", PATH, headers=headers)
    response, held = _ok(connection), b""
    while part := response.read1(CHUNK_BYTES):
        *whole, held = (held + part).split(b"\n\n")
        yield [json.loads(one.partition(b"\ndata: ")[2]) for one in whole if one.startswith(b"id: ")]


def _ok(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    response = connection.getresponse()
    if response.status != http.client.OK:
        raise RuntimeError(f"{response.status} {response.read()!r}")
    return response


def _say(told: dict[str, float]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main(url: str, how: str, count: str, limit: str, token: str) -> None:
    _say({})
    sys.stdin.readline()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    began = time.perf_counter()
    rows, position, wanted = 0, 0, int(count)
    for changes in pages(connection, token, int(limit)) if how == "pages" else events(connection, token):
        for change in changes:
            if change["position"] <= position:
                raise RuntimeError(f"position {change['position']} after {position}")
            position = change["position"]
        rows += len(changes)
        if rows >= wanted:
            break
    lasted_s = time.perf_counter() - began
    if rows != wanted:
        raise RuntimeError(f"{rows} changes of {wanted}")
    _say({"seconds": lasted_s})
    sys.stdin.readline()  # stays to be looked at


if __name__ == "__main__":
    main(*sys.argv[1:])
