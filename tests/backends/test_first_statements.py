"""A transaction that is lost before it has done anything is begun again, unseen; once it has, it is lost as a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.backends.signals import connection_created

from django_aurora_routing import FailoverFailedError, FailoverSuccessError
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_all_or_nothing import Row
from .test_failover import execute, insert, is_clean, kill_and_promote, rows, writer  # noqa: F401
from .test_interruptions import TimeLimit, time_limit
from .test_placement import server_of

pytestmark = pytest.mark.lab

# How it is lost: refused by a server that is no longer the writer; or found dead.
LOSSES = pytest.mark.parametrize("lose", [lambda cluster: cluster.promote(), kill_and_promote], ids=["demoted", "dead"])
Lose = Callable[[LocalCluster], Any]


@LOSSES
def test_a_block_is_begun_again_by_its_first_statement(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    lose: Lose,
) -> None:
    ran: list[str] = []
    with transaction.atomic(using=writer, durable=True):
        transaction.on_commit(lambda: ran.append("hook"), using=writer)
        with transaction.atomic(using=writer, savepoint=False):
            lose(cluster)
            insert(writer, 1)
            assert connections[writer].in_atomic_block
            assert len(connections[writer].atomic_blocks) == 2
        insert(writer, 2)
        assert ran == []
    assert ran == ["hook"]
    assert is_clean(writer)
    assert rows(cluster) == [1, 2]
    assert server_of(writer) == cluster.writer.id


@LOSSES
@pytest.mark.parametrize(
    "call",
    [
        lambda objects: objects.get_or_create(id=1, defaults={"v": "a"}),
        lambda objects: objects.bulk_create([Row(id=1, v="a")]),
        lambda objects: objects.create(id=1, v="a"),
    ],
    ids=["get_or_create", "bulk_create", "create"],
)
def test_what_opens_a_block_of_its_own_sees_nothing(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    call: Callable[[Any], Any],
    lose: Lose,
) -> None:
    lose(cluster)
    call(Row.objects.using(writer))
    assert rows(cluster) == [1]


def test_it_can_be_rolled_back_like_any_other(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=writer):
        cluster.promote()
        insert(writer, 1)
        raise ZeroDivisionError
    assert is_clean(writer)
    assert rows(cluster) == []


def test_the_second_loss_is_reported(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        cluster.promote()
        insert(writer, 1)
        kill_and_promote(cluster)
        insert(writer, 2)
    assert is_clean(writer)
    assert rows(cluster) == []


@pytest.mark.parametrize("way", ["a read", "a savepoint", "an error", "a kept cursor", "executemany"])
def test_a_block_in_which_something_was_run_is_lost(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    way: str,
) -> None:
    cursor = connections[writer].cursor()
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        if way == "a read":
            execute(writer, "SELECT 1")
        elif way == "a savepoint":
            connections[writer].savepoint()
        elif way == "an error":
            with pytest.raises(Exception, match="nothing"):
                execute(writer, "SELECT nothing")
        elif way == "executemany":
            cursor.executemany("INSERT INTO t VALUES (%s, 'a')", [[10]])
        else:
            cursor.execute("INSERT INTO t VALUES (10, 'a')")
        cluster.promote()
        insert(writer, 1)
    assert is_clean(writer)
    assert rows(cluster) == []


def test_a_first_statement_that_was_under_way_is_reported(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    timer = threading.Timer(0.3, cluster.writer.reset)
    timer.start()
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        execute(writer, "INSERT INTO t SELECT 1, SLEEP(1)")
    timer.join()
    assert is_clean(writer)
    assert rows(cluster) == []


def test_a_session_that_is_made_for_it_is_made_outside_of_it(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    alias = aliases.add("w", isolation_level="serializable")
    seen: list[tuple[bool, bool]] = []

    def note(connection: Any, **kwargs: Any) -> None:
        seen.append((connection.in_atomic_block, connection.get_autocommit()))
        with connection.cursor() as cursor:
            cursor.execute("SET @told = 1")

    connection_created.connect(note)
    try:
        with transaction.atomic(using=alias):
            cluster.promote()
            insert(alias, 1)
            assert execute(alias, "SELECT @@tx_isolation, @told, @@autocommit") == [("SERIALIZABLE", 1, 0)]
    finally:
        connection_created.disconnect(note)
    assert seen == [(False, True)] * 2
    assert execute(alias, "SELECT @@autocommit") == [(1,)]


def test_where_no_writer_is_found_the_block_fails_and_leaves_nothing(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    alias = aliases.add("w", failover_timeout_sec=2)
    with pytest.raises(FailoverFailedError), transaction.atomic(using=alias):
        cluster.writer.kill()
        with pytest.raises(FailoverFailedError):
            insert(alias, 1)
    assert is_clean(alias)


def test_an_interruption_on_the_way_leaves_the_block_lost(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    execute(aliases.add("met"), "SELECT 1")
    alias = aliases.add("w", init_command="DO SLEEP(1)")
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=alias):
        cluster.promote()
        with pytest.raises(TimeLimit), time_limit(0.5):
            insert(alias, 1)
        with pytest.raises(FailoverSuccessError):
            insert(alias, 2)
    assert is_clean(alias)
    insert(alias, 3)
    assert rows(cluster) == [3]


def executemany(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, 'a')", [[1], [2]])


def test_several_statements_at_once_begin_it_again_too(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    with transaction.atomic(using=writer):
        kill_and_promote(cluster)
        executemany(writer)
    assert rows(cluster) == [1, 2]


@pytest.mark.parametrize("call", [lambda alias: insert(alias, 1), executemany], ids=["execute", "executemany"])
def test_a_block_that_is_to_be_rolled_back_is_not_begun_again(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    call: Callable[[str], None],
) -> None:
    with transaction.atomic(using=writer):
        transaction.set_rollback(True, using=writer)
        kill_and_promote(cluster)
        with pytest.raises(transaction.TransactionManagementError):
            call(writer)
    assert is_clean(writer)
    assert rows(cluster) == []


def test_a_connection_that_the_block_has_closed_is_no_loss(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    known = connections[writer].known_cluster()
    with transaction.atomic(using=writer):
        connections[writer].close()
        with pytest.raises(transaction.TransactionManagementError):
            insert(writer, 1)
    assert known.view.trusted_writer is not None
    insert(writer, 2)
    assert rows(cluster) == [2]


class CutOff:
    """A cursor whose statement is carried out, and left by an exception that is not the driver's before it returns."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, *args: Any) -> None:
        self._cursor.execute(*args)
        raise TimeLimit


def test_a_statement_that_was_interrupted_may_have_been_carried_out(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        with connections[writer].cursor() as cursor:
            cursor.cursor = CutOff(cursor.cursor)
            with pytest.raises(TimeLimit):
                cursor.execute("INSERT INTO t VALUES (1, 'a')")
        kill_and_promote(cluster)
        insert(writer, 2)
    assert rows(cluster) == []


def test_a_commit_of_nothing_is_not_unknown(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    old = cluster.writer
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        old.black_hole()
        threading.Timer(0.5, lambda: kill_and_promote(cluster)).start()
    assert is_clean(writer)
