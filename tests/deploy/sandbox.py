"""Runs a command under those restrictions of a systemd unit that need no systemd: `python sandbox.py RULES COMMAND...`.

RULES is JSON: `uid` to become (null: stay), `allowed` system calls, `families` of addresses, `umask`. Writable memory
is never executable. The rules are those that systemd makes of SystemCallFilter, RestrictAddressFamilies,
MemoryDenyWriteExecute, NoNewPrivileges, CapabilityBoundingSet and UMask.
"""

import ctypes
import errno
import json
import mmap
import os
import socket
import sys

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_SHM_EXEC = 0o100000
_FAMILIES = range(64)


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


_library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
_library.seccomp_init.restype = ctypes.c_void_p
_library.seccomp_init.argtypes = [ctypes.c_uint32]
_library.seccomp_load.argtypes = [ctypes.c_void_p]
_library.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
]  # fmt: skip


def _rule(context: int, action: int, name: str, *comparison: int) -> None:
    number = _library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        return  # of another architecture
    compared = _Comparison(*comparison) if comparison else None
    status = _library.seccomp_rule_add_array(
        context, action, number, 1 if compared else 0, ctypes.byref(compared) if compared else None
    )
    assert status == 0, (name, status)


def _load(context: int) -> None:
    status = _library.seccomp_load(context)  # sets no_new_privs too
    assert status == 0, status


def _deny(families: list[str]) -> None:
    known = {getattr(socket, name) for name in families}
    context = _library.seccomp_init(_ALLOW)
    for family in _FAMILIES:
        if family not in known:
            _rule(context, _ERRNO | errno.EAFNOSUPPORT, "socket", 0, _EQUAL, family, 0)
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    _rule(context, _ERRNO | errno.EPERM, "mmap", 2, _MASKED_EQUAL, both, both)
    for name in ("mprotect", "pkey_mprotect"):
        _rule(context, _ERRNO | errno.EPERM, name, 2, _MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC)
    _rule(context, _ERRNO | errno.EPERM, "shmat", 2, _MASKED_EQUAL, _SHM_EXEC, _SHM_EXEC)
    _load(context)


def _allow(names: list[str]) -> None:
    context = _library.seccomp_init(_ERRNO | errno.EPERM)
    for name in names:
        _rule(context, _ALLOW, name)
    _load(context)


def main() -> None:
    rules = json.loads(sys.argv[1])
    os.umask(rules["umask"])
    if rules["uid"] is not None:
        os.setgroups([])
        os.setgid(rules["uid"])
        os.setuid(rules["uid"])  # the capabilities go with it
    _deny(rules["families"])
    _allow([*rules["allowed"], "seccomp", "prctl"])
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 -- that is the point


main()
