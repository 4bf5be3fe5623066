"""Connect timeout: the login phase counts too, and a host that says nothing is left in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import mysql.connector
import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failures import Failure, classify_mysql
from django_aurora_routing.drivers.mysql_connector import DRIVER_ERRORS, MySQLConnectorDriver
from django_aurora_routing.lab import LocalServer


@pytest.fixture
def greeting(server: LocalServer) -> bytes:
    """What a real server says first."""
    with socket.create_connection((server.host, server.port)) as sock:
        head = sock.recv(4, socket.MSG_WAITALL)
        return head + sock.recv(int.from_bytes(head[:3], "little"), socket.MSG_WAITALL)


@pytest.fixture
def stalling(greeting: bytes) -> Iterator[Address]:
    """A server that greets, and then says nothing more: it froze in the middle of a login."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            held.append(sock)
            sock.sendall(greeting)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield Address("127.0.0.1", listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for sock in held:
        sock.close()


def test_a_login_that_stalls_after_the_greeting_ends_in_time(stalling: Address) -> None:
    driver = MySQLConnectorDriver()
    began = time.monotonic()
    with pytest.raises(DRIVER_ERRORS) as failed:
        driver.connect(stalling, {"user": "u", "password": "sesame-open"}, 1.0)
    assert time.monotonic() - began < 6
    facts = driver.facts(failed.value)
    assert facts is not None
    assert classify_mysql(facts, connecting=True) is Failure.UNREACHABLE
    assert "sesame-open" not in str(failed.value)


def test_a_login_in_time_is_left_alone(server: LocalServer) -> None:
    driver = MySQLConnectorDriver()
    connection = driver.connect(
        Address(server.host, server.port), {"user": server.user, "password": server.password}, 1.0
    )
    try:
        time.sleep(1.5)
        assert list(driver.ask(connection, "SELECT 1")) == [(1,)]
    finally:
        driver.close(connection)


@pytest.mark.parametrize("use_pure", [True, False])
def test_a_blocked_call_is_ended_from_another_thread(server: LocalServer, use_pure: bool) -> None:
    driver = MySQLConnectorDriver()
    params = {"user": server.user, "password": server.password, "use_pure": use_pure}
    connection = driver.connect(Address(server.host, server.port), params, 5.0)
    timer = threading.Timer(0.3, lambda: driver.abort(connection))
    timer.start()
    began = time.monotonic()
    with pytest.raises(DRIVER_ERRORS) as failed:
        driver.ask(connection, "SELECT SLEEP(20)")
    assert time.monotonic() - began < 10
    facts = driver.facts(failed.value)
    assert facts is not None
    assert classify_mysql(facts) is Failure.LOST
    driver.close(connection)


def test_errors_that_are_not_the_drivers_have_no_facts() -> None:
    driver = MySQLConnectorDriver()
    assert driver.facts(ValueError("x")) is None
    facts = driver.facts(mysql.connector.ProgrammingError("no number"))
    assert facts is not None
    assert facts.errno is None
