"""A socket that the driver has closed leaves its number behind, which is nobody's, or another's, from then on."""

from __future__ import annotations

import contextlib
import socket

import mysql.connector

from django_aurora_routing.drivers.mysql_connector import MySQLConnectorDriver
from django_aurora_routing.lab import LocalServer

from .conftest import Connect


def test_the_number_of_a_closed_socket_is_not_taken_for_the_connections(connect: Connect, server: LocalServer) -> None:
    driver, session = MySQLConnectorDriver(), connect()
    server.server.query(f"KILL {session.connection_id}")
    with contextlib.suppress(mysql.connector.Error):
        session.autocommit = False  # meets the loss; the extension says nothing of it
    driver.look(session)(0)
    others = [socket.socketpair() for _ in range(4)]  # one of them gets the number
    try:
        driver.abort(session)
        for one, other in others:
            one.send(b"still open")
            assert other.recv(10) == b"still open"
    finally:
        for pair in others:
            for end in pair:
                end.close()
    driver.close(session)
