"""The sockets that a service listens on: those of one process, or of several that share a port."""

import asyncio
import errno
import os
import socket
import sys

from favsync.core.errors import OperatorError

BACKLOG = 1024
_NOT_HERE = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}  # localhost may have an IPv6 address where there is no IPv6


async def listen(host: str, port: int, *, processes: int = 1) -> list[list[socket.socket]]:
    """For each process its sockets, one for each address of `host`, which listen already. `port` 0: any free one.

    On Linux each process has a queue of its own, and the kernel spreads connections over them; elsewhere all take from
    the same. Raises OperatorError, also where somebody else listens there, be it another favsync.
    """
    opened: list[list[socket.socket]] = [[] for _ in range(processes)]
    bound, missing = port, OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                shared = _at_address(family, (address[0], bound, *address[2:]), processes)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
                continue
            bound = shared[0].getsockname()[1]
            for own, one in zip(opened, shared, strict=True):
                own.append(one)
        if not opened[0]:
            raise missing
    except (OSError, UnicodeError) as error:
        close(opened)
        reason = error.strerror if isinstance(error, OSError) else "not the name of a host"
        raise OperatorError(f"cannot listen on {host}:{port}: {reason}") from error
    return opened


def close(opened: list[list[socket.socket]]) -> None:
    for own in opened:
        for one in own:
            one.close()


def _at_address(family: int, address: tuple[object, ...], processes: int) -> list[socket.socket]:
    sockets = [_bound(family, address)]
    try:
        if sys.platform == "linux":
            # The first was bound as if it were alone: it fails where anybody listens, ready to share or not, and as
            # long as it is open another favsync fails by it. Only now it lets others in, and these ask to be.
            for _ in range(1, processes):
                sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sockets.append(_bound(family, sockets[0].getsockname(), socket.SO_REUSEPORT))
        else:
            sockets.extend(sockets[0].dup() for _ in range(1, processes))
    except OSError:
        close([sockets])
        raise
    return sockets


def _bound(family: int, address: tuple[object, ...], *options: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in (socket.SO_REUSEADDR, *options):
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one
