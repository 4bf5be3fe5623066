"""Packets come out of the buffer whole, however they arrived."""

from __future__ import annotations

import random
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mysql.connector.errors import InterfaceError, ReadTimeoutError

from django_aurora_routing.drivers.mysql_connector_cursor import Cursor
from django_aurora_routing.drivers.mysql_network import ReadAhead


def packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number % 256]) + payload


@given(st.lists(st.binary(max_size=300), max_size=50), st.randoms(use_true_random=False))
def test_packets_in_pieces(payloads: list[bytes], rng: random.Random) -> None:
    stream = b"".join(packet(number, payload) for number, payload in enumerate(payloads))
    cuts = sorted(rng.choices(range(len(stream) + 1), k=rng.randrange(10)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs:
            for piece in pieces:
                theirs.sendall(piece)

    sender = threading.Thread(target=send)
    sender.start()
    broker = ReadAhead()
    with ours:
        for number, payload in enumerate(payloads):
            assert broker.recv(ours, "here") == packet(number, payload)
        with pytest.raises(InterfaceError) as ended:
            broker.recv(ours, "here")
    sender.join()
    assert ended.value.errno == 2013


def test_a_packet_of_many_megabytes(connect: Any) -> None:
    cursor = Cursor(connect())
    cursor.execute("SELECT REPEAT('x', %s), 'end'", [15 * 1024 * 1024])
    ((value, end),) = cursor.fetchall()
    assert (len(value), end) == (15 * 1024 * 1024, "end")


def test_half_a_packet_is_waited_for_no_longer_than_asked() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.05)
        broker = ReadAhead()
        theirs.sendall(packet(0, b"whole") + packet(1, b"half")[:5])
        assert broker.recv(ours, "here") == packet(0, b"whole")
        with pytest.raises(ReadTimeoutError):
            broker.recv(ours, "here")


def test_a_compressed_session_reads_its_own_way(connect: Any) -> None:
    cursor = Cursor(connect(compress=True))
    # A small result: the connector cannot read a large one (26.10.0: struct.error, with its own cursors too).
    cursor.execute("SELECT 'x'")
    assert cursor.fetchall() == (("x",),)
