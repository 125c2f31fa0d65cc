"""The sockets of several processes: one port, shared with nobody."""

import socket
import sys
from collections import Counter

import pytest

from favsync import ports
from favsync.core.errors import OperatorError


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


HOSTS = ["127.0.0.1", "0.0.0.0", "localhost", *(["::1", "::"] if _has_ipv6() else [])]  # noqa: S104 -- what operators say


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_all_have_the_same_free_port(host: str) -> None:
    opened = await ports.listen(host, 0, processes=3)
    try:
        assert len({one.getsockname()[1] for own in opened for one in own}) == 1
        assert len({tuple(one.getsockname()[0] for one in own) for own in opened}) == 1
    finally:
        ports.close(opened)


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("second", [1, 2])
async def test_nobody_else_gets_it_while_one_is_open(host: str, first: int, second: int) -> None:
    opened = await ports.listen(host, 0, processes=first)
    port = opened[0][0].getsockname()[1]
    try:
        with pytest.raises(OperatorError) as refused:
            ports.close(await ports.listen(host, port, processes=second))
        assert refused.value.detail == f"cannot listen on {host}:{port}: Address already in use"
    finally:
        ports.close(opened)
    ports.close(await ports.listen(host, port, processes=second))


async def test_each_gets_its_share() -> None:
    opened = await ports.listen("127.0.0.1", 0, processes=2)
    address = opened[0][0].getsockname()
    clients = [socket.create_connection(address) for _ in range(200)]
    taken: Counter[int] = Counter()
    for number, [one] in enumerate(opened):
        one.settimeout(0)
        while True:
            try:
                one.accept()[0].close()
            except BlockingIOError:
                break
            taken[number] += 1
    for client in clients:
        client.close()
    ports.close(opened)
    assert taken.total() == 200
    assert min(taken[0], taken[1]) > 50


async def test_elsewhere_than_on_linux_all_take_from_one_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    opened = await ports.listen("127.0.0.1", 0, processes=2)
    (first,), (last,) = opened
    address = first.getsockname()
    first.close()
    with pytest.raises(OperatorError):
        await ports.listen("127.0.0.1", address[1], processes=2)
    with socket.create_connection(address), last.accept()[0] as taken:
        assert taken.getsockname() == address
    last.close()


@pytest.mark.parametrize("host", ["no such host", "203.0.113.1", "x..y"])
async def test_a_host_that_is_none_is_named(host: str) -> None:
    with pytest.raises(OperatorError, match=r"cannot listen on .*:0: \w+"):
        await ports.listen(host, 0, processes=2)
