"""docs/sdk.md is true: what it shows is run, in its order, and prints what it says."""

import ast
import asyncio
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from favsync import client as package
from favsync.client import Client, ClientError, Record, Refused, Session
from tests.client.peer import Peer, answer, good
from tests.http.conftest import Serve, token
from tests.http.declared import declared
from tests.http.feeds import all_placed

DOCUMENT = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text()
BLOCK = re.compile(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", re.DOTALL)
NOTES = declared('[entities.notes.fields]\ntext = { type = "string" }')


async def test_what_it_shows_does_what_it_says(
    serve: Serve, peer: Peer, connection: asyncpg.Connection, session: Session
) -> None:
    served = await serve(entities=NOTES)
    url, own = str(served.make_url("/")).rstrip("/"), token("ann")
    peer.answers = [
        answer(200, b"OK"),
        answer(200, [good("session_21982")]),
    ]
    (program, printed), *pieces = BLOCK.findall(DOCUMENT)
    assert await run(program, SERVICE_URL=url, SERVICE_TOKEN=own) == printed
    names: dict[str, Any] = {
        "Client": Client, "Record": Record,  # which the program imports; the others say what they need
        "client": Client(url, own, session=session), "url": url, "token": own, "session": session,
        "reader_token": token("mirror", scope="feed:read"), "their_url": peer.url, "their_token": "theirs",
    }  # fmt: skip
    assert len(pieces) == 8
    for piece, expected in pieces:
        await all_placed(connection)
        lines: list[str] = []
        names["print"] = lambda *shown, to=lines: to.append(" ".join(map(str, shown)))
        running = eval(compile(piece, "docs/sdk.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307 -- ours
        if inspect.isawaitable(running):
            await running
        assert lines == expected.splitlines(), piece


async def run(program: str, **variables: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=os.environ | variables, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


def test_its_table_of_errors_has_each_of_them() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", DOCUMENT, re.MULTILINE))
    every = {one for one in vars(package).values() if isinstance(one, type) and issubclass(one, ClientError)}
    assert set(rows) == {one.__name__ for one in every - {ClientError}}
    for kind in every - {ClientError, Refused}:
        made = kind(500) if issubclass(kind, Refused) else kind.__new__(kind)
        assert rows[kind.__name__] == ("yes" if made.retryable else "no")


@pytest.mark.parametrize("name", package.__all__)
def test_it_names_what_there_is(name: str) -> None:
    indirect = {"Auth", "Bearer", "Change", "Clock", "FeedPage", "Pulled", "Receipt", "RefusedRecord", "SYNC"}
    assert name in indirect or re.search(rf"\b{name}\b", DOCUMENT), name
