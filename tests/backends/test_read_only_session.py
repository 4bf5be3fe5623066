"""Sessions that the server itself keeps from writing: while a block prevents writes, and on read_only aliases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings

from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.routing.blocks import prevent_writes
from django_aurora_routing.routing.errors import WritePrevented

from .conftest import ON_MYSQLCLIENT, Aliases
from .test_failover import execute, insert, kill_and_promote, rows


@pytest.fixture
def writer(aliases: Aliases, table: str) -> str:
    return aliases.add("w")


@pytest.fixture
def writing_function(cluster: LocalCluster, table: str) -> Iterator[str]:
    """A stored function that writes; SQL which calls it looks like any other read."""
    cluster.writer.query("DROP FUNCTION IF EXISTS app.put")
    cluster.writer.query(
        "CREATE FUNCTION app.put(k INT) RETURNS INT MODIFIES SQL DATA "
        "BEGIN INSERT INTO t VALUES (k, 'f'); RETURN k; END"
    )
    yield "put"
    cluster.writer.query("DROP FUNCTION app.put")


def is_read_only(alias: str) -> bool:
    """What the session of the alias has, asked past everything that Django and we do before a statement."""
    driver, connection = connections[alias].driver, connections[alias].connection
    (row,) = driver.ask(connection, "SHOW SESSION VARIABLES LIKE 't%_read_only'")[:1]
    value = row[1]
    return bool((value if isinstance(value, str) else bytes(value).decode()) == "ON")


@contextmanager
def statements(alias: str) -> Iterator[list[str]]:
    """What is sent by way of the driver's own calls for a single command."""
    connection = connections[alias].connection
    sent: list[str] = []
    name = "query" if ON_MYSQLCLIENT else "cmd_query"
    original = getattr(connection, name)

    def note(query: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(query if isinstance(query, str) else bytes(query).decode())
        return original(query, *args, **kwargs)

    setattr(connection, name, note)
    try:
        yield sent
    finally:
        setattr(connection, name, original)


def test_the_session_follows_the_block_with_the_next_statement(writer: str) -> None:
    insert(writer, 1)
    with prevent_writes():
        assert not is_read_only(writer)
        execute(writer, "SELECT 1")
        assert is_read_only(writer)
        with statements(writer) as sent:
            execute(writer, "SELECT 1")
        assert not [sql for sql in sent if "READ" in sql]
    assert is_read_only(writer)
    insert(writer, 2)
    assert not is_read_only(writer)


def test_a_function_that_writes_is_refused_by_the_server(
    cluster: LocalCluster, writer: str, writing_function: str
) -> None:
    with prevent_writes():
        with pytest.raises(WritePrevented, match=r"'w' was not sent 'SELECT put'.*prevent_writes\(\)"):
            execute(writer, "SELECT put(1)")
        with transaction.atomic(using=writer), pytest.raises(WritePrevented):
            execute(writer, "SELECT put(2)")
    assert rows(cluster) == []
    assert execute(writer, "SELECT put(3)") == [(3,)]
    assert rows(cluster) == [3]


def test_a_procedure_is_refused_too(cluster: LocalCluster, writer: str) -> None:
    cluster.writer.query("DROP PROCEDURE IF EXISTS app.put_all")
    cluster.writer.query("CREATE PROCEDURE app.put_all(k INT) INSERT INTO t VALUES (k, 'p')")
    with connections[writer].cursor() as cursor:
        with prevent_writes(), pytest.raises(Exception, match="READ ONLY"):
            cursor.callproc("put_all", [1])
        cursor.callproc("put_all", [2])
    assert rows(cluster) == [2]
    cluster.writer.query("DROP PROCEDURE app.put_all")


def test_a_transaction_begun_inside_is_read_only_and_the_next_one_is_not(
    cluster: LocalCluster, writer: str, writing_function: str
) -> None:
    with prevent_writes(), transaction.atomic(using=writer):
        assert is_read_only(writer)
        execute(writer, "SELECT COUNT(*) FROM t")
        with transaction.atomic(using=writer), pytest.raises(WritePrevented):
            execute(writer, "SELECT put(1)")
    with transaction.atomic(using=writer):
        assert not is_read_only(writer)
        insert(writer, 2)
    assert rows(cluster) == [2]


def test_a_transaction_from_outside_is_left_as_it_is(cluster: LocalCluster, writer: str) -> None:
    with transaction.atomic(using=writer):
        with prevent_writes():
            execute(writer, "SELECT COUNT(*) FROM t")
            with pytest.raises(WritePrevented):
                insert(writer, 1)
            assert not is_read_only(writer)
        insert(writer, 2)
    assert rows(cluster) == [2]


def test_transactions_by_hand_are_left_as_they_are(cluster: LocalCluster, writer: str) -> None:
    execute(writer, "SELECT 1")
    transaction.set_autocommit(False, using=writer)
    with prevent_writes(), pytest.raises(WritePrevented):
        insert(writer, 1)
    insert(writer, 2)
    transaction.commit(using=writer)
    transaction.set_autocommit(True, using=writer)
    assert rows(cluster) == [2]


def test_the_isolation_level_stays(aliases: Aliases, table: str) -> None:
    for number, level in enumerate(("serializable", "repeatable read", None)):
        writer = aliases.add(f"w{number}", isolation_level=level)
        reader = aliases.add(f"r{number}", isolation_level=level, read_only=True)
        ask = "SELECT LOWER(REPLACE(VARIABLE_VALUE, '-', ' ')) FROM {} WHERE VARIABLE_NAME IN ('tx_isolation', %s)"
        is_mariadb = connections[writer].mysql_is_mariadb
        ask = ask.format(("information_schema" if is_mariadb else "performance_schema") + ".session_variables")
        before = execute(writer, ask, ["transaction_isolation"])
        assert level is None or before == [(level,)]
        with prevent_writes():
            assert execute(writer, ask, ["transaction_isolation"]) == before
            assert is_read_only(writer)
        assert execute(writer, ask, ["transaction_isolation"]) == before
        assert not is_read_only(writer)
        assert execute(reader, ask, ["transaction_isolation"]) == before
        assert is_read_only(reader)
        assert connections[reader].isolation_level == level


def test_a_read_only_alias_is_so_from_the_first_and_takes_no_blocks_orders(
    cluster: LocalCluster, aliases: Aliases, writing_function: str
) -> None:
    reader = aliases.add("r", read_only=True)
    connections[reader].ensure_connection()
    assert is_read_only(reader)
    with prevent_writes():
        execute(reader, "SELECT 1")
    execute(reader, "SELECT 1")
    assert is_read_only(reader)


def test_a_read_only_alias_sends_no_more_at_connect_than_another(aliases: Aliases) -> None:
    ask = "SHOW SESSION STATUS LIKE 'Com_set_option'"
    assert execute(aliases.add("r", read_only=True), ask) == execute(aliases.add("w"), ask)


def test_where_a_reader_falls_back_on_the_writer_it_still_writes_nothing(
    cluster: LocalCluster, aliases: Aliases, writing_function: str
) -> None:
    for instance in cluster.readers:
        instance.kill()
    reader = aliases.add("r", read_only=True)
    aliases.add("default-writer")
    roles = {"CLUSTERS": {"default": {"writer": "default-writer", "readers": ["r"]}}}
    with override_settings(AURORA_ROUTING=roles):
        assert execute(reader, "SELECT @@hostname IS NOT NULL") == [(1,)]
        with pytest.raises(WritePrevented, match=r"'r' was not sent 'SELECT put'.*reader of cluster 'default'"):
            execute(reader, "SELECT put(1)")
        with pytest.raises(WritePrevented):
            insert(reader, 1)
    assert rows(cluster) == []


def test_a_failover_keeps_the_mode_that_is_wanted(cluster: LocalCluster, writer: str) -> None:
    insert(writer, 1)
    with prevent_writes():
        execute(writer, "SELECT 1")
        kill_and_promote(cluster)
        assert execute(writer, "SELECT COUNT(*) FROM t") == [(1,)]
        assert is_read_only(writer)
    insert(writer, 2)
    assert not is_read_only(writer)
    assert rows(cluster) == [1, 2]


def test_a_connection_lost_between_the_block_and_the_next_write_is_replaced(cluster: LocalCluster, writer: str) -> None:
    # The change of mode is the first to meet the loss; nothing was sent, so the write itself is made once.
    with prevent_writes():
        execute(writer, "SELECT 1")
    kill_and_promote(cluster)
    insert(writer, 1)
    assert rows(cluster) == [1]
    with prevent_writes():
        execute(writer, "SELECT 1")
    kill_and_promote(cluster)
    with transaction.atomic(using=writer):
        insert(writer, 2)
    assert rows(cluster) == [1, 2]
    assert not is_read_only(writer)
