"""A session after a switch of any kind is what Django made of the first one: by Django's own path, and once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.db.backends.signals import connection_created

from django_aurora_routing import FailoverError, TransactionResolutionUnknownError
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import FAST_DETECTION, execute, insert, kill_and_promote, promotion_after, within

pytestmark = pytest.mark.lab

SQL_MODE = "STRICT_TRANS_TABLES,NO_ZERO_DATE"
SESSION = """
    SELECT @@tx_isolation, @@time_zone, @@sql_mode, @@sort_buffer_size, @@autocommit, @@sql_auto_is_null,
           @@character_set_client, @@character_set_results, @@collation_connection, @@tx_read_only, DATABASE()
"""
OPTIONS: dict[str, Any] = {
    "isolation_level": "serializable",
    "sql_mode": SQL_MODE,
    "charset": "latin1",
    "init_command": "SET @@time_zone = '+05:00', @@sort_buffer_size = 400000",
}


def kill(cluster: LocalCluster, alias: str) -> None:
    kill_and_promote(cluster)


def kill_under_a_write(cluster: LocalCluster, alias: str) -> None:
    killer = threading.Timer(0.3, lambda: kill_and_promote(cluster))
    killer.start()
    with pytest.raises(TransactionResolutionUnknownError):
        execute(alias, "INSERT INTO t SELECT 100, SLEEP(2)")
    killer.join()


def freeze(cluster: LocalCluster, alias: str) -> None:
    cluster.writer.freeze()
    with promotion_after(cluster, 0.3):
        execute(alias, "SELECT 1")


def lose_a_transaction(cluster: LocalCluster, alias: str) -> None:
    connection = connections[alias]
    connection.set_autocommit(False)
    insert(alias, 100)
    kill_and_promote(cluster)
    with pytest.raises(FailoverError):
        insert(alias, 101)
    connection.rollback()
    connection.set_autocommit(True)


def switch_over(cluster: LocalCluster, alias: str) -> None:
    cluster.promote()
    insert(alias, 100)  # which the old writer refuses


def close_idle(cluster: LocalCluster, alias: str) -> None:
    ((number,),) = execute(alias, "SELECT CONNECTION_ID()")
    cluster.writer.query(f"KILL {number}")


@pytest.mark.parametrize(
    "switch", [kill, kill_under_a_write, freeze, lose_a_transaction, switch_over, close_idle], ids=lambda f: f.__name__
)
def test_a_session_is_the_same_after_a_switch(
    cluster: LocalCluster, aliases: Aliases, table: str, switch: Callable[[LocalCluster, str], None]
) -> None:
    alias = aliases.add("w", TIME_ZONE="Asia/Karachi", **OPTIONS, **FAST_DETECTION)
    created: list[tuple[Any, Any, bool]] = []

    def note(sender: Any, connection: Any, **kwargs: Any) -> None:
        created.append((sender, connection, connection.connection is not None))
        with connection.cursor() as cursor:  # as receivers do
            cursor.execute("SET @told = 1")

    connection_created.connect(note)

    def work() -> None:
        connection = connections[alias]
        before = execute(alias, SESSION)
        execute(alias, "SET @mine = 1")
        assert created == [(type(connection), connection, True)]
        switch(cluster, alias)
        execute(alias, "SELECT 1")
        assert execute(alias, SESSION) == before
        assert before == [
            (
                *("SERIALIZABLE", "+05:00", SQL_MODE, 400000, 1, 0),
                *("latin1", "latin1", "latin1_swedish_ci", 0, "app"),
            )
        ]
        assert execute(alias, "SELECT @mine, @told") == [(None, 1)], "it is another session"
        assert created == [(type(connection), connection, True)] * 2
        assert str(connection.timezone) == "Asia/Karachi"

    try:
        error = within(40, work)
        if error is not None:
            raise error
    finally:
        connection_created.disconnect(note)


def test_a_collation_of_ones_own_is_kept(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    alias = aliases.add("w", charset="utf8mb4", collation="utf8mb4_bin")
    asks = "SELECT @@collation_connection"
    assert execute(alias, asks) == [("utf8mb4_bin",)]
    kill_and_promote(cluster)
    assert execute(alias, asks) == [("utf8mb4_bin",)]


def test_a_read_only_session_is_read_only_after_a_switch(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    alias = aliases.add("r", read_only=True, isolation_level="repeatable read")
    asks = "SELECT @@tx_isolation, @@tx_read_only"
    assert execute(alias, asks) == [("REPEATABLE-READ", 1)]
    cluster.instance(execute(alias, "SELECT @@aurora_server_id")[0][0]).kill()
    assert execute(alias, asks) == [("REPEATABLE-READ", 1)]
