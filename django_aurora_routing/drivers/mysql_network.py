"""How the connector's Python implementation sends and receives, with fewer calls of the kernel.

Its own way is two calls a packet, and a result has one packet for each column and each row; and before each packet it
sets the time limit that is set already. Each call lets other threads run, and waits for its turn afterwards: where many
threads log in at a time, that is half of what it takes.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from mysql.connector.errors import InterfaceError
from mysql.connector.network import MySQLSocket, MySQLTCPSocket, MySQLUnixSocket, NetworkBrokerPlain

from ..core.keepalive import KeepAlive
from .sockets import keep_alive_at

if TYPE_CHECKING:
    _Base = MySQLSocket
else:
    _Base = object

_AT_LEAST, _AT_MOST = 1 << 16, 1 << 20  # bytes asked for in one call

# Where the options say nothing: a peer that vanished without a word is noticed after about 60 seconds.
_KEEPALIVE = KeepAlive(True, idle=30, interval=10, probes=3)


class ReadAhead(NetworkBrokerPlain):
    """The driver's protocol of packets, over a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self._data = bytearray()
        self._read = 0

    @property
    def has_more(self) -> bool:
        """Whether more has arrived than was asked for."""
        return self._read < len(self._data)

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


class _Sparing(_Base):
    """Over one of the driver's networks. With compression it reads the driver's own way."""

    sock: socket.socket | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._netbroker = ReadAhead()

    def send(
        self,
        payload: bytes,
        packet_number: int | None = None,
        compressed_packet_number: int | None = None,
        write_timeout: int | None = None,
    ) -> None:
        self._limit(write_timeout)
        self._netbroker.send(
            self.sock,  # type: ignore[arg-type,unused-ignore]
            self.address,
            payload,
            packet_number=packet_number,
            compressed_packet_number=compressed_packet_number,
        )

    def recv(self, read_timeout: int | None = None) -> bytearray:
        self._limit(read_timeout)
        return self._netbroker.recv(self.sock, self.address)  # type: ignore[arg-type,unused-ignore]

    def _limit(self, seconds: int | None) -> None:
        if self._connection_timeout or self.sock is None:
            return  # the login has a limit of its own
        limit = float(seconds) if seconds else None
        if self.sock.gettimeout() != limit:
            with contextlib.suppress(OSError):  # whatever it is, sending and receiving will say so
                self.sock.settimeout(limit)

    def switch_to_ssl(self, *args: Any, **kwargs: Any) -> None:
        # It would be taken for the server's, and anybody on the way could have written it.
        if isinstance(self._netbroker, ReadAhead) and self._netbroker.has_more:
            raise InterfaceError("More than a greeting came from the server before the encryption began", errno=2026)
        super().switch_to_ssl(*args, **kwargs)


class TCPNetwork(_Sparing, MySQLTCPSocket):
    """Over TCP/IP, with the kernel's keep-alive: the driver's own sets none."""

    def open_connection(self) -> None:
        super().open_connection()
        sock = self.sock
        assert sock is not None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive_at(sock, _KEEPALIVE)


class UnixNetwork(_Sparing, MySQLUnixSocket):
    """Over a socket in the file system."""
