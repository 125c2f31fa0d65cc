"""The client with a backend that knows the bare protocol alone: examples/third_party, as it stands."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from favsync.client import SEED, BadAnswer, Client, Record, Refused, Session, Unauthorized

SERVER = Path(__file__).parents[2] / "examples" / "third_party" / "server.py"
T = 1_577_836_800_000_000


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "tokens").write_text("token-of-ann ann\ntoken-of-bob bob\n")
    command = [sys.executable, str(SERVER), str(tmp_path / "tokens"), str(tmp_path / "database"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.kill()


@pytest.fixture
def ann(backend: str, session: Session) -> Client:
    return Client(backend, "token-of-ann", paths=SEED, session=session, retry=None)


async def test_both_directions(ann: Client) -> None:
    sent = [Record("a", T), Record("b\u00fc", T + 1, deleted=True)]
    assert await ann.push(sent, batch=1) is None, "it tells a list, and no receipts"
    pulled = await ann.pull()
    assert (pulled.records, pulled.refused, pulled.cursor) == (sent, [], None)
    assert (await ann.pull(etag=pulled.etag)).not_modified
    await ann.push([Record("a", T - 1, deleted=True), Record("c", T)])
    changed = await ann.pull(etag=pulled.etag, after="a cursor that it does not know")
    assert changed.records == [*sent, Record("c", T)]


async def test_users_are_told_apart(ann: Client, backend: str, session: Session) -> None:
    await ann.push([Record("a", T)])
    assert (await Client(backend, "token-of-bob", paths=SEED, session=session).pull()).records == []


async def test_what_it_refuses(backend: str, session: Session) -> None:
    with pytest.raises(Unauthorized):
        await Client(backend, "token-of-nobody", paths=SEED, session=session).pull()
    with pytest.raises(Refused) as caught:
        await Client(backend, "token-of-ann", session=session).pull()
    assert caught.value.status == 404


async def test_more_than_one_body_may_hold_goes_out_in_several(ann: Client) -> None:
    sent = [Record(f"{number:06}" + 200 * "\u4e2d", T) for number in range(1700)]
    await ann.push(sent, batch=1700)
    assert (await ann.pull()).records == sent


async def test_its_clock_is_not_known(ann: Client) -> None:
    await ann.pull()
    assert ann.clock.offset_ms is None


async def test_it_has_no_stream(ann: Client) -> None:
    with pytest.raises(BadAnswer, match="no stream"):
        await anext(ann.follow())
