"""Reads what has arrived of an answer at once, for the connector's Python implementation.

Its own way is two calls of the kernel a packet, and a result has one packet for each column and each row.
"""

from __future__ import annotations

import socket
from typing import Any

from mysql.connector.errors import InterfaceError
from mysql.connector.network import NetworkBrokerPlain

_AT_LEAST, _AT_MOST = 1 << 16, 1 << 20  # bytes asked for in one call


class _ReadAhead(NetworkBrokerPlain):
    """The driver's protocol of packets, over a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self._data = bytearray()
        self._read = 0

    def _recv_chunk(self, sock: socket.socket, size: int = 0) -> bytearray:
        if self._read + size > len(self._data):
            self._fill(sock, size)
        start = self._read
        self._read = start + size
        return self._data[start : self._read]

    def _fill(self, sock: socket.socket, size: int) -> None:
        data = self._data = self._data[self._read :]
        self._read = 0
        while (missing := size - len(data)) > 0:
            arrived = sock.recv(min(max(missing, _AT_LEAST), _AT_MOST))
            if not arrived:
                raise InterfaceError(errno=2013)
            data += arrived


def read_ahead(connection: Any) -> None:
    """Let a connection do so from now on, when its login is done; a compressed one reads its own way."""
    if type(connection._socket._netbroker) is NetworkBrokerPlain:
        connection._socket._netbroker = _ReadAhead()
