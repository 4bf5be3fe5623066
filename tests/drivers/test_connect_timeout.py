"""Connect timeout: the login phase counts too, and a host that says nothing is left in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import mysql.connector
import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failures import Failure, classify_mysql
from django_aurora_routing.drivers.base import Driver
from django_aurora_routing.drivers.mysql_connector import MySQLConnectorDriver
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


def login_of(server: LocalServer, **params: Any) -> tuple[Address, dict[str, Any]]:
    return Address(server.host, server.port), {"user": server.user, "password": server.password, **params}


def failure(driver: Driver, error: BaseException, *, connecting: bool = False) -> Failure:
    facts = driver.facts(error)
    assert facts is not None
    return classify_mysql(facts, connecting=connecting)


@pytest.mark.parametrize("timeout", [0.3, 1.0])
def test_a_login_that_stalls_after_the_greeting_ends_in_time(stalling: Address, driver: Driver, timeout: float) -> None:
    began = time.monotonic()
    with pytest.raises(Exception) as failed:  # noqa: PT011 - the driver says whose it is
        driver.connect(stalling, {"user": "u", "password": "sesame-open"}, timeout)
    assert time.monotonic() - began < timeout + 0.6
    assert failure(driver, failed.value, connecting=True) is Failure.UNREACHABLE
    assert "sesame-open" not in str(failed.value)


def test_a_login_in_time_is_left_alone(server: LocalServer, driver: Driver) -> None:
    connection = driver.connect(*login_of(server), timeout=1.0)
    try:
        time.sleep(1.5)
        assert list(driver.ask(connection, "SELECT 1")) == [(1,)]
    finally:
        driver.close(connection)


@pytest.mark.parametrize("use_pure", [True, False])
def test_a_blocked_call_is_ended_from_another_thread(server: LocalServer, driver: Driver, use_pure: bool) -> None:
    params = {"use_pure": use_pure} if isinstance(driver, MySQLConnectorDriver) else {}
    connection = driver.connect(*login_of(server, **params), timeout=5.0)
    timer = threading.Timer(0.3, lambda: driver.abort(connection))
    timer.start()
    began = time.monotonic()
    with pytest.raises(Exception) as failed:  # noqa: PT011
        driver.ask(connection, "SELECT SLEEP(20)")
    assert time.monotonic() - began < 10
    assert failure(driver, failed.value) is Failure.LOST
    driver.close(connection)
    assert driver.abort(connection) is False


def test_a_question_ends_in_time(server: LocalServer, driver: Driver) -> None:
    connection = driver.connect(*login_of(server), timeout=5.0)
    assert list(driver.ask(connection, "SELECT 1", 5.0)) == [(1,)]
    began = time.monotonic()
    with pytest.raises(Exception) as failed:  # noqa: PT011
        driver.ask(connection, "SELECT SLEEP(20)", 0.5)
    assert time.monotonic() - began < 5
    assert failure(driver, failed.value) is Failure.LOST
    assert not driver.is_out_of_step(connection)
    driver.close(connection)


def test_a_killed_session_is_seen_to_be_hung_up(server: LocalServer, driver: Driver) -> None:
    connection = driver.connect(*login_of(server), timeout=5.0)
    ((number,),) = driver.ask(connection, "SELECT CONNECTION_ID()")
    assert not driver.look(connection)(0)
    server.server.query(f"KILL {number}")
    deadline = time.monotonic() + 10
    while not driver.look(connection)(0) and time.monotonic() < deadline:
        time.sleep(0.005)  # KILL answers before it has killed
    assert driver.look(connection)(0)
    driver.close(connection)


def test_what_was_never_sent_is_told_by_the_facts(driver: Driver) -> None:
    facts = driver.facts(driver.never_sent())
    assert facts is not None
    assert classify_mysql(facts) is Failure.NEVER_SENT


def test_errors_that_are_not_the_drivers_have_no_facts(driver: Driver) -> None:
    assert driver.facts(ValueError("x")) is None


def test_an_error_without_a_number() -> None:
    facts = MySQLConnectorDriver().facts(mysql.connector.ProgrammingError("no number"))
    assert facts is not None
    assert facts.errno is None
