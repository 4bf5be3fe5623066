"""The socket inside a connection object of a C driver: found where its C library keeps it, verified before use."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..core.endpoints import Address
from ..core.keepalive import KeepAlive
from .base import Look

# Where `int fd` lies in the object: PyObject head, then MYSQL, which begins with NET: five pointers, then fd. The same
# in the connector's extension 8.4 to 26.10 and in mysqlclient, over MySQL's library and MariaDB's, on 64-bit.
_FD_OFFSET = object.__basicsize__ + 5 * 8

# What poll() is to look for on Linux; elsewhere it adds POLLHUP and POLLERR by itself.
_HUNG_UP = getattr(select, "POLLRDHUP", 0)


def _made_by_python() -> Callable[[], Any]:
    """`select.poll`, also where gevent has put its own in its place: that one can tell no hang-up."""
    monkey = sys.modules.get("gevent.monkey")
    original: Callable[[], Any] = select.poll if monkey is None else monkey.get_original("select", "poll")
    return original


_pythons_own_poll = _made_by_python()


def keep_alive(fd: int, wanted: KeepAlive) -> None:
    """Set keep-alive at a socket that only its number is known of; nothing where it is none of TCP's."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            keep_alive_at(sock, wanted)


def keep_alive_at(sock: socket.socket, wanted: KeepAlive) -> None:
    """Set keep-alive at a TCP socket. What the system does not know is left out."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(wanted.on))
    idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"  # as macOS calls it
    for name, value in ((idle, wanted.idle), ("TCP_KEEPINTVL", wanted.interval), ("TCP_KEEPCNT", wanted.probes)):
        if value is not None and hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def look_at(fd: int) -> Look:
    """A look at a socket: one poll() without waiting. Made once a connection, for making it costs more than it does.

    Should the number be another socket's by now, then ours is closed, and what is told is of no harm.
    """
    polled = _pythons_own_poll()
    polled.register(fd, _HUNG_UP)
    return polled.poll  # type: ignore[no-any-return]


def nothing_seen(timeout: int) -> Sequence[tuple[int, int]]:
    """The look where there is no socket to look at."""
    return ()


def is_ended_by_peer(seen: Sequence[tuple[int, int]]) -> bool:
    """Whether a look has seen the other end go; not where the socket has been closed here."""
    return any(event != select.POLLNVAL for _, event in seen)


def descriptor_in(session: object) -> int | None:
    """The number in the object, if it is that of an open socket. Where the library has closed its own, of another."""
    fd = ctypes.c_int.from_address(id(session) + _FD_OFFSET).value
    return fd if fd > 2 and socket_id(fd) is not None else None


def socket_id(fd: int) -> int | None:
    """A number that no other open socket has; None for what is no socket, or not open."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_ino if stat.S_ISSOCK(status.st_mode) else None


def shut_login_down(session: object, address: Address) -> None:
    """Shut down the socket of a login that is under way in a C library, which tells of none until it is done.

    Only if it leads to where the login goes: should that have just failed, the number may be another socket's by now.
    """
    with contextlib.suppress(OSError):
        if (fd := descriptor_in(session)) is not None:
            with socket.socket(fileno=os.dup(fd)) as sock:
                if sock.family == socket.AF_UNIX or sock.getpeername()[1] == address.port:
                    sock.shutdown(socket.SHUT_RDWR)


def point_nowhere(fd: int) -> None:
    """Put /dev/null in the place of a socket, in this process alone. Raises OSError."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nowhere, fd)
    finally:
        os.close(nowhere)
