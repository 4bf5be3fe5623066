"""Counts round trips where they happen: a relay between client and server that reads the protocol's first bytes."""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

COM_PING = 0x0E  # the fifth byte of a command, after its length and the number 0


@dataclass
class Trips:
    """What went over the wire since the last `reset()`. A connect counts as one: nothing is sent before it is there."""

    all: int = 0
    pings: int = 0

    def reset(self) -> None:
        self.all = self.pings = 0


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], upstream: tuple[str, int], trips: Trips) -> None:
        self.upstream = upstream
        self.trips = trips
        super().__init__(address, _Relay)


class _Relay(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        trips, client = self.server.trips, self.request
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.create_connection(self.server.upstream) as upstream, selectors.DefaultSelector() as selector:
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for sock in (client, upstream):
                selector.register(sock, selectors.EVENT_READ)
            is_waiting = True
            while True:
                for key, _ in selector.select():
                    if not (data := _received(key.fileobj)):
                        return
                    if key.fileobj is client:
                        trips.pings += data[3:5] == bytes((0, COM_PING))
                        is_waiting = True
                        upstream.sendall(data)
                    else:
                        trips.all += is_waiting
                        is_waiting = False
                        client.sendall(data)


def _received(sock: object) -> bytes:
    assert isinstance(sock, socket.socket)
    try:
        return sock.recv(1 << 16)
    except ConnectionError:
        return b""


@contextmanager
def counted(hosts: Sequence[str], upstream_port: int) -> Iterator[tuple[int, Trips]]:
    """For the block, one more port on each of `hosts` that leads to its `upstream_port`; the port, and what passed."""
    trips = Trips()
    servers: list[_Server] = []
    try:
        port = 0
        for host in hosts:
            server = _Server((host, port), (host, upstream_port), trips)
            threading.Thread(target=server.serve_forever, args=(0.05,), name=f"relay {host}", daemon=True).start()
            servers.append(server)
            port = server.server_address[1]
        yield port, trips
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
