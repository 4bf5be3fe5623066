"""Owns the ways to the servers: forwards each connection to its server, and does the faults on the wire.

Gate: the way to one instance. Link: one connection. All of it runs on the loop's thread; other threads come in
through `Loop.run`.
"""

import contextlib
import logging
import socket
import struct
import time
from collections.abc import Callable, Sequence

from .framing import ClientStream, error_packet, insists_on_compression, without_compression_and_tls
from .kinds.base import Session
from .loop import READ, WRITE, Loop

logger = logging.getLogger(__name__)

CHUNK = 256 * 1024
_NO_COMPRESSION = error_packet(2, 1235, "42000", "The lab cannot read a compressed stream; connect without compression")
_LOOK_AGAIN = 0.002  # seconds
_COMMAND, _QUERIES = slice(4, 5), (b"\x03", b"\x17")  # COM_QUERY and COM_STMT_EXECUTE, behind a packet's length
_RESET = struct.pack("ii", 1, 0)


class Gate:
    """The way to one instance, by its server's unix socket, and the faults that lie on it."""

    def __init__(
        self,
        loop: Loop,
        socket_path: str,
        *,
        session: Callable[[], Session] | None,
        needles: Sequence[bytes],
        shows: Callable[[float], bool],
    ) -> None:
        self.loop = loop
        self.socket_path = socket_path
        self.session = session  # makes what reads a client's statements, should any need to be read
        self.needles = needles
        self.shows = shows  # whether the instance has all that was committed before a moment
        self.links: set[Link] = set()
        self.is_up = False  # a server process is there
        self.is_held = False  # nobody answers, nor hangs up: a frozen server that was fenced
        self.is_refusing = False
        self.is_dark = False  # the network swallows everything
        self.is_mute = False  # it brings what clients send, and swallows the answers
        self.delay = 0.0

    @property
    def is_open(self) -> bool:
        return (self.is_up or self.is_held) and not self.is_refusing

    def set_dark(self, is_dark: bool) -> None:
        self.is_dark = is_dark
        for link in list(self.links):
            link.resume()

    def set_mute(self, is_mute: bool) -> None:
        self.is_mute = is_mute
        for link in list(self.links):
            link.resume()

    def reset_links(self) -> None:
        for link in list(self.links):
            link.close(reset=True)


class Link:
    """One client's connection and the server's that belongs to it."""

    __slots__ = (
        "_client",
        "_client_events",
        "_delayed",
        "_due",
        "_gate",
        "_greeted",
        "_held",
        "_introduced",
        "_is_closed",
        "_loop",
        "_server",
        "_server_events",
        "_session",
        "_stream",
        "_to_client",
        "_to_server",
    )

    def __init__(self, gate: Gate, client: socket.socket) -> None:
        self._gate = gate
        self._loop = gate.loop
        self._client = client
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server: socket.socket | None = None
        self._client_events = self._server_events = 0
        self._session = gate.session() if gate.session is not None else None
        self._stream = ClientStream(self._session.rewrite, gate.needles) if self._session is not None else None
        self._to_client = self._to_server = self._held = b""
        self._greeted = self._introduced = self._is_closed = False
        self._delayed = 0
        self._due = 0.0
        gate.links.add(self)
        if gate.delay:
            self._later(self._connect)
        else:
            self._connect()

    def resume(self) -> None:
        """Go on as the gate's faults now allow."""
        if self._server is None and not self._gate.is_dark and not self._delayed:
            self._connect()
        self._watch()

    def close(self, *, reset: bool = False) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._client_events = self._loop.watch(self._client, self._client_events, 0, self._on_client)
        self._drop_server()
        self._gate.links.discard(self)
        close_socket(self._client, reset=reset)

    def _connect(self) -> None:
        gate = self._gate
        if self._is_closed or self._server is not None or gate.is_held or gate.is_dark:
            return
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.setblocking(False)
        try:
            server.connect(gate.socket_path)
        except BlockingIOError:  # its backlog is full: frozen, or very busy
            server.close()
            self._loop.at(time.monotonic() + 0.01, self._connect)
            return
        except OSError:
            server.close()
            self.close(reset=True)
            return
        self._server = server
        self._watch()

    def _on_client(self, events: int) -> None:
        if events & WRITE:
            self._flush_to_client()
        if not events & READ or self._is_closed:
            return
        try:
            data = self._client.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if self._gate.delay or self._delayed:
            self._later(lambda: self._forward(data))
        else:
            self._forward(data)

    def _forward(self, data: bytes) -> None:
        if not data:
            self.close()
            return
        if self._stream is not None:
            if not self._introduced:
                self._introduced = True
                if insists_on_compression(data):
                    self._turn_away()
                    return
            assert self._session is not None
            waits = self._session.waits_for_all
            data = self._stream.feed(data)
            if self._held:
                self._held += data
                return
            # Not for a ping, nor for the statement that begins or ends it.
            if waits and self._session.waits_for_all and data[_COMMAND] in _QUERIES:
                self._held = data
                self._wait_for_all(time.monotonic())
                return
        self._send_to_server(data)

    def _wait_for_all(self, moment: float) -> None:
        """Hold a query back until the instance has all that was committed before it came."""
        if self._is_closed:
            return
        if self._gate.shows(moment):
            data, self._held = self._held, b""
            self._send_to_server(data)
        else:
            self._loop.at(time.monotonic() + _LOOK_AGAIN, lambda: self._wait_for_all(moment))

    def _send_to_server(self, data: bytes) -> None:
        if self._to_server or self._gate.is_dark:  # only after a delay; else nothing is read meanwhile
            self._to_server += data
            return
        server = self._server
        if server is None or not data:
            return
        try:
            sent = server.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # its end is read next
        if sent < len(data):
            self._to_server = data[sent:]
            self._watch()

    def _turn_away(self) -> None:
        with contextlib.suppress(OSError):
            self._client.send(_NO_COMPRESSION)
        self.close()

    def _on_server(self, events: int) -> None:
        if events & WRITE:
            self._flush_to_server()
        server = self._server
        if not events & READ or self._is_closed or server is None:
            return
        try:
            data = server.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._server_ended()
            return
        if not self._greeted:
            self._greeted = True
            data = without_compression_and_tls(data)
        try:
            sent = self._client.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._to_client = data[sent:]
            self._watch()

    def _server_ended(self) -> None:
        if self._gate.is_held:
            self._drop_server()
            self._watch()
        else:
            self.close(reset=not self._gate.is_up)

    def _flush_to_server(self) -> None:
        if self._server is None:
            return
        try:
            self._to_server = self._to_server[self._server.send(self._to_server) :]
        except BlockingIOError:
            return
        except OSError:
            self._to_server = b""
        if not self._to_server:
            self._watch()

    def _flush_to_client(self) -> None:
        try:
            self._to_client = self._to_client[self._client.send(self._to_client) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._to_client:
            self._watch()

    def _later(self, call: Callable[[], None]) -> None:
        """Run `call` after the gate's delay and after everything that was delayed before it."""

        def run() -> None:
            self._delayed -= 1
            if not self._is_closed:
                call()

        self._delayed += 1
        self._due = max(self._due, time.monotonic() + self._gate.delay)
        self._loop.at(self._due, run)

    def _watch(self) -> None:
        if self._is_closed:
            return
        client = server = 0
        if not self._gate.is_dark and self._server is not None:
            client = (0 if self._to_server else READ) | (WRITE if self._to_client else 0)
            server = (0 if self._to_client or self._gate.is_mute else READ) | (WRITE if self._to_server else 0)
        self._client_events = self._loop.watch(self._client, self._client_events, client, self._on_client)
        if self._server is not None:
            self._server_events = self._loop.watch(self._server, self._server_events, server, self._on_server)

    def _drop_server(self) -> None:
        if self._server is not None:
            self._server_events = self._loop.watch(self._server, self._server_events, 0, self._on_server)
            self._server.close()
            self._server = None


def close_socket(sock: socket.socket, *, reset: bool) -> None:
    if reset:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()
