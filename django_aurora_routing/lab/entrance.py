"""Owns the addresses that clients connect to, of an instance or an endpoint; on the loop's thread.

What becomes of a connection is the gate's that it is led to.
"""

import logging
import socket
import time
from collections.abc import Callable

from .facade import Gate, Link, close_socket
from .loop import READ, Loop

logger = logging.getLogger(__name__)

BACKLOG = 4096


class Entrance:
    """One address. It listens while `choose` names a gate to lead to; else its port is kept, and refuses."""

    def __init__(self, loop: Loop, address: tuple[str, int], choose: Callable[[], Gate | None]) -> None:
        self._loop = loop
        self._address = address
        self._choose = choose
        self._fill: list[socket.socket] = []
        self._watched = 0
        self._is_open = False
        self._is_dark = False
        self._socket = _bound(address)

    def settle(self, *, is_open: bool, is_dark: bool = False) -> None:
        """Listen, refuse or, dark, let connection attempts go unanswered."""
        if is_open != self._is_open:
            if is_open:
                self._socket.listen(BACKLOG)
                self._watched = self._loop.watch(self._socket, 0, READ, self._accept)
            else:
                self._lighten()
                self._watched = self._loop.watch(self._socket, self._watched, 0, self._accept)
                # Bound but not listening: the kernel refuses, and nobody else takes the port meanwhile.
                self._socket.close()
                self._socket = _bound(self._address)
            self._is_open = is_open
        if is_open and is_dark != self._is_dark:
            if is_dark:
                self._darken()
            else:
                self._lighten()

    def close(self) -> None:
        self._lighten()
        self._watched = self._loop.watch(self._socket, self._watched, 0, self._accept)
        self._socket.close()

    def _darken(self) -> None:
        """Fill the accept queue with connections of our own: the kernel drops every further SYN."""
        self._is_dark = True
        self._watched = self._loop.watch(self._socket, self._watched, 0, self._accept)
        self._socket.listen(0)
        for _ in range(3):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(self._address)
            self._fill.append(filler)

    def _lighten(self) -> None:
        if not self._is_dark:
            return
        self._is_dark = False
        for filler in self._fill:
            filler.close()
        self._fill.clear()
        self._socket.listen(BACKLOG)
        self._watched = self._loop.watch(self._socket, self._watched, READ, self._accept)

    def _accept(self, events: int) -> None:
        for _ in range(64):
            try:
                client, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor left
                logger.warning("cannot accept on %s: %s", self._address, error)
                self._watched = self._loop.watch(self._socket, self._watched, 0, self._accept)
                self._loop.at(time.monotonic() + 0.1, self._accept_again)
                return
            gate = self._choose()
            if gate is None or not gate.is_open:
                close_socket(client, reset=True)
            else:
                Link(gate, client)

    def _accept_again(self) -> None:
        if self._is_open and not self._is_dark:
            self._watched = self._loop.watch(self._socket, self._watched, READ, self._accept)


def _bound(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
