"""mysqlclient: what its cursor and its connection do besides what the driver's own do."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.failures import ErrorFacts
from django_aurora_routing.drivers.mysqlclient_options import OPTION_NAMES
from django_aurora_routing.lab import LocalServer

MySQLdb = pytest.importorskip("MySQLdb", reason="mysqlclient is not installed (tox -e mysqlclient)")

from MySQLdb.constants import FIELD_TYPE  # noqa: E402

from django_aurora_routing.drivers.mysqlclient import MySQLClientDriver  # noqa: E402

DRIVER = MySQLClientDriver()


def connected(server: LocalServer, **params: Any) -> Any:
    account = {"user": server.user, "password": server.password, "database": "app", "autocommit": True}
    return DRIVER.connect(Address(server.host, server.port), {"charset": "utf8mb4", **account, **params}, 10)


@pytest.fixture
def session(server: LocalServer) -> Iterator[Any]:
    connection = connected(server)
    yield connection
    DRIVER.close(connection)


def test_the_answers_to_several_statements_are_all_there_at_once(session: Any) -> None:
    cursor = session.cursor()
    assert cursor.execute("SELECT 1 AS a; SELECT 2, 3; DO 1; SELECT 4") == 1
    assert not DRIVER.is_out_of_step(session)
    assert DRIVER.ask(session, "SELECT 'between'") == (("between",),)
    assert cursor.fetchall() == ((1,),)
    assert [column[0] for column in cursor.description] == ["a"]
    assert cursor.nextset()
    assert cursor.fetchone() == (2, 3)
    assert cursor.nextset()
    assert cursor.description is None
    assert cursor.nextset()
    assert cursor.fetchall() == ((4,),)
    assert cursor.nextset() is None
    cursor.close()


def test_an_error_of_a_later_statement_is_raised_by_execute(session: Any) -> None:
    cursor = session.cursor()
    with pytest.raises(MySQLdb.ProgrammingError) as later:
        cursor.execute("SELECT 1; SELEKT 2")
    assert later.value.args[0] == 1064
    assert not DRIVER.is_out_of_step(session)
    cursor.execute("SELECT 5")
    assert cursor.fetchall() == ((5,),)
    cursor.close()


def test_what_an_exception_of_the_applications_interrupts_is_out_of_step(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = session.cursor()

    def interrupt() -> None:
        raise KeyboardInterrupt  # as a signal's handler, between the statement and its answer

    monkeypatch.setattr(cursor, "_get_result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cursor.execute("SELECT 1")
    assert DRIVER.is_out_of_step(session)


def test_a_value_that_cannot_be_converted_leaves_the_session_in_step(session: Any) -> None:
    def refuse(text: str) -> None:
        raise ValueError(text)

    session.converter.update(dict.fromkeys((FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG), refuse))
    with pytest.raises(ValueError, match="1"):
        session.cursor().execute("SELECT 1; SELECT 'x'")
    assert not DRIVER.is_out_of_step(session)
    assert DRIVER.ask(session, "SELECT 'y'") == (("y",),)


def test_facts() -> None:
    assert DRIVER.facts(MySQLdb.OperationalError(2026, "TLS/SSL error")) == ErrorFacts(2026, "TLS/SSL error")
    assert DRIVER.facts(MySQLdb.ProgrammingError("cursor closed")) == ErrorFacts(None, "cursor closed")
    assert DRIVER.facts(MySQLdb.InterfaceError(0, "")) == ErrorFacts(0, "")


def sockets() -> int:
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # listdir()'s own
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return count


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
def test_no_socket_is_left_by_those_that_are_closed_nor_by_those_that_nobody_closes(server: LocalServer) -> None:
    gc.collect()
    before = sockets()
    connection = connected(server)
    assert sockets() == before + 2
    DRIVER.close(connection)
    assert sockets() == before
    connection = connected(server)
    del connection
    gc.collect()
    assert sockets() == before
    with pytest.raises(MySQLdb.OperationalError):
        connected(server, user="nobody", password="sesame-open")
    gc.collect()
    assert sockets() == before


def test_the_number_of_a_closed_socket_is_not_taken_for_the_sessions(server: LocalServer, session: Any) -> None:
    server.server.query(f"KILL {session.thread_id()}")
    with pytest.raises(MySQLdb.OperationalError):
        session.ping()  # the library closes its socket
    others = [socket.socketpair() for _ in range(4)]  # one of them gets the number
    try:
        DRIVER.abort(session)
        DRIVER.abort(session, only_here=True)
        for one, other in others:
            one.send(b"still open")
            assert other.recv(10) == b"still open"
    finally:
        for pair in others:
            for end in pair:
                end.close()


VALUES: dict[str, Any] = {
    "conv": {},
    "ssl": {},
    **dict.fromkeys(("client_flag", "read_timeout", "write_timeout"), 1),
    **dict.fromkeys(
        ("compress", "use_unicode", "multi_statements", "local_infile", "autocommit", "binary_prefix"), True
    ),
    "ssl_mode": "DISABLED",
}


@pytest.mark.parametrize("name", sorted(OPTION_NAMES))
def test_each_option_that_settings_may_have_is_one_of_the_drivers(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = Address("127.0.0.1", taken.getsockname()[1])
    since = {"server_public_key_path": (2, 2, 5), "local_infile_dir": (2, 3, 0)}.get(name, (2, 2, 1))
    if MySQLdb.version_info < since:
        pytest.skip(f"mysqlclient has it since {since}")
    with pytest.raises(MySQLdb.Error):  # and not a TypeError
        DRIVER.connect(closed, {name: VALUES.get(name, "x")}, 1)
