"""Idle connections that died: what is found before anything is sent is made on the new writer, whatever it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError, ProgrammingError, connections, transaction

from django_aurora_routing import FailoverError
from django_aurora_routing.lab import LocalCluster, LocalServer

from .conftest import Aliases
from .test_failover import execute, insert, kill_and_promote, rows

pytestmark = pytest.mark.lab

INSERT = "INSERT INTO t VALUES (%s, 'a')"


@pytest.fixture
def writer(aliases: Aliases, table: str) -> str:
    alias = aliases.add("w")
    execute(alias, "SELECT 1")
    return alias


def wait_until_hung_up(alias: str) -> None:
    deadline = time.monotonic() + 10
    while not connections[alias].look(0) and time.monotonic() < deadline:
        time.sleep(0.005)


def executemany(cursor: Any) -> None:
    cursor.executemany(INSERT, [(1,), (2,)])


def callproc(cursor: Any) -> None:
    cursor.callproc("two")


def several(cursor: Any) -> None:
    cursor.execute("INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, 'a')")


@pytest.mark.parametrize("write", [executemany, callproc, several])
def test_what_is_more_than_one_statement_is_made_on_the_new_writer(
    cluster: LocalCluster, writer: str, write: Callable[[Any], None]
) -> None:
    cluster.writer.query(
        "CREATE OR REPLACE PROCEDURE app.two() SQL SECURITY INVOKER "
        "BEGIN INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, 'a'); END"
    )
    cluster.catch_up()
    kill_and_promote(cluster)
    wait_until_hung_up(writer)
    with connections[writer].cursor() as cursor:
        write(cursor)
    assert rows(cluster) == [1, 2]


def test_a_read_that_does_something_is_made_on_the_new_writer(cluster: LocalCluster, writer: str) -> None:
    kill_and_promote(cluster)
    wait_until_hung_up(writer)
    assert execute(writer, "SELECT GET_LOCK('mine', 0)") == [(1,)]


def test_a_statement_that_is_bytes_is_made_on_the_new_writer(cluster: LocalCluster, writer: str) -> None:
    kill_and_promote(cluster)
    wait_until_hung_up(writer)
    with connections[writer].cursor() as cursor:
        cursor.execute(b"INSERT INTO t VALUES (1, 'a')")
    assert rows(cluster) == [1]


def test_a_cursor_that_was_there_before_goes_on(cluster: LocalCluster, writer: str) -> None:
    with connections[writer].cursor() as cursor:
        cursor.execute(INSERT, [1])
        kill_and_promote(cluster)
        wait_until_hung_up(writer)
        cursor.execute(INSERT, [2])
        cursor.execute("SELECT COUNT(*) FROM t")
        assert cursor.fetchone() == (len(rows(cluster)),)
    assert 2 in rows(cluster)


def test_on_a_single_server_a_dead_connection_is_the_applications_error(
    aliases: Aliases, lab_server: LocalServer
) -> None:
    lab_server.heal()
    account = {"USER": lab_server.user, "PASSWORD": lab_server.password}
    where = {"host": lab_server.host, "port": lab_server.port, "cluster_id": ..., "cluster_instance_host_pattern": ...}
    alias = aliases.add("single", **account, **where)
    ((number,),) = execute(alias, "SELECT CONNECTION_ID()")
    lab_server.server.query(f"KILL {number}")
    wait_until_hung_up(alias)
    with pytest.raises(OperationalError) as failed:
        execute(alias, "SET @a = 1")
    assert not isinstance(failed.value, FailoverError)
    assert failed.value.args[0] == 2006
    connections[alias].close()
    assert execute(alias, "SELECT 1") == [(1,)]


def test_only_a_write_in_autocommit_and_a_transactions_ends_look_at_the_socket(writer: str) -> None:
    connection, looks = connections[writer], []
    look = connection.look

    def counted(timeout: int) -> Any:
        looks.append(timeout)
        return look(timeout)

    connection.look = counted
    execute(writer, "SELECT COUNT(*) FROM t")
    assert looks == []
    insert(writer, 1)
    assert looks == [0]
    with transaction.atomic(using=writer):
        insert(writer, 2)
        assert looks == [0, 0]  # as long as it has done nothing, it can be begun again
        with transaction.atomic(using=writer):
            execute(writer, "SELECT COUNT(*) FROM t")
            insert(writer, 3)
        assert looks == [0, 0]
    assert looks == [0, 0, 0]


# What takes a shorter way than Django's to save time still does what that does


def test_an_event_loop_is_refused_also_with_an_open_connection(writer: str) -> None:
    async def main() -> None:
        connections[writer].cursor()

    with pytest.raises(SynchronousOnlyOperation):
        asyncio.run(main())


def test_an_error_while_fetching_is_djangos(writer: str) -> None:
    for fetch in ("fetchone", "fetchmany", "fetchall"):
        with connections[writer].cursor() as cursor, pytest.raises(ProgrammingError):
            getattr(cursor, fetch)()


def test_a_block_that_has_to_be_rolled_back_takes_no_statement(writer: str) -> None:
    with transaction.atomic(using=writer):
        transaction.set_rollback(True, using=writer)
        with pytest.raises(transaction.TransactionManagementError):
            execute(writer, "SELECT 1")


def test_fetchmany_takes_a_number(writer: str) -> None:
    with connections[writer].cursor() as cursor:
        cursor.execute("SELECT 1 UNION SELECT 2 UNION SELECT 3")
        assert [len(cursor.fetchmany(2)), len(cursor.fetchmany(size=2)), len(cursor.fetchmany(2))] == [2, 1, 0]
        cursor.execute("SELECT 1 UNION SELECT 2")
        assert len(cursor.fetchmany()) == 1
