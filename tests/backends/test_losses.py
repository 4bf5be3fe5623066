"""Every loss is recognised, in whatever call of the driver it is met: real connections, cut at rest and at work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction

from django_aurora_routing import FailoverError, FailoverSuccessError, TransactionResolutionUnknownError
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_all_or_nothing import Row
from .test_failover import execute, insert, is_clean, kill_and_promote, rows, writer  # noqa: F401
from .test_placement import server_of
from .test_time_limits import SLOW_FUNCTION, slow_read

pytestmark = pytest.mark.lab
Call = Callable[[str], Any]
PROCEDURE = (
    "CREATE OR REPLACE PROCEDURE app.slow() SQL SECURITY INVOKER "
    "BEGIN DO SLEEP(0.6); INSERT INTO t VALUES (1, 'a'); END"
)


def executemany(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, 'a')", [[1], [2]])


def callproc(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.callproc("slow")


def end_at_rest(cluster: LocalCluster, alias: str, way: str) -> None:
    """End the alias's session, which does nothing at the moment, and return when the client's side knows."""
    if way == "reset":
        cluster.writer.reset()
    elif way == "KILL":
        ((number,),) = execute(alias, "SELECT CONNECTION_ID()")
        cluster.writer.query(f"KILL {number}")
    else:
        kill_and_promote(cluster)
    deadline = time.monotonic() + 10
    while not connections[alias].look(0) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert connections[alias].look(0)


WAYS = pytest.mark.parametrize("way", ["reset", "KILL", "kill -9"])
UNSEEN: dict[str, Call] = {
    "execute": lambda alias: insert(alias, 1),
    "read": lambda alias: execute(alias, "SELECT 1"),
    "executemany": executemany,
    "callproc": callproc,
    "create": lambda alias: Row.objects.using(alias).create(id=1, v="a"),
    "begin": lambda alias: transaction.atomic(using=alias).__enter__(),
    "begin by hand": lambda alias: transaction.set_autocommit(False, using=alias),
}


@pytest.fixture(autouse=True)
def procedure(cluster: LocalCluster, table: str) -> None:
    cluster.writer.query(PROCEDURE)
    cluster.writer.query(SLOW_FUNCTION)
    cluster.catch_up()


@WAYS
@pytest.mark.parametrize("call", UNSEEN)
def test_a_loss_at_rest_is_not_seen_in_autocommit(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    call: str,
    way: str,
) -> None:
    end_at_rest(cluster, writer, way)
    UNSEEN[call](writer)
    if not connections[writer].get_autocommit():
        insert(writer, 1)
        connections[writer].in_atomic_block = False
        connections[writer].commit()
        connections[writer].set_autocommit(True)
    assert rows(cluster) == {"read": [], "executemany": [1, 2]}.get(call, [1])
    assert server_of(writer) == cluster.writer.id


def in_a_savepoint(how: str) -> Call:
    def call(alias: str) -> None:
        getattr(transaction, how)(SIDS.pop(), using=alias)

    return call


SIDS: list[str] = []
IN_A_BLOCK: dict[str, Call] = {
    **{name: call for name, call in UNSEEN.items() if "begin" not in name},
    "savepoint": lambda alias: connections[alias].savepoint(),
    "savepoint_commit": in_a_savepoint("savepoint_commit"),
    "savepoint_rollback": in_a_savepoint("savepoint_rollback"),
    "nested block": lambda alias: transaction.atomic(using=alias).__enter__(),
    "end of the block": lambda alias: None,
}


@WAYS
@pytest.mark.parametrize("call", IN_A_BLOCK)
def test_a_loss_at_rest_fails_the_block(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    call: str,
    way: str,
) -> None:
    with pytest.raises(FailoverSuccessError) as lost, transaction.atomic(using=writer):
        insert(writer, 50)
        SIDS[:] = [connections[writer].savepoint()]
        end_at_rest(cluster, writer, way)
        IN_A_BLOCK[call](writer)
    assert lost.value.in_transaction
    assert is_clean(writer)
    assert rows(cluster) == []
    insert(writer, 51)
    assert rows(cluster) == [51]


@WAYS
def test_a_loss_at_rest_before_a_rollback_is_a_rollback(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    way: str,
) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=writer):
        insert(writer, 50)
        end_at_rest(cluster, writer, way)
        raise ZeroDivisionError
    assert is_clean(writer)
    insert(writer, 51)
    assert rows(cluster) == [51]


# At work

SLOW: dict[str, tuple[Call, type[FailoverError] | None]] = {
    "execute": (lambda alias: execute(alias, "INSERT INTO t SELECT 1, SLEEP(1)"), TransactionResolutionUnknownError),
    "executemany": (
        lambda alias: connections[alias].cursor().executemany("INSERT INTO t SELECT %s, SLEEP(0.5)", [[1], [2], [3]]),
        TransactionResolutionUnknownError,
    ),
    "callproc": (callproc, TransactionResolutionUnknownError),
    "a read with an effect": (lambda alias: execute(alias, "SELECT SLEEP(1)"), TransactionResolutionUnknownError),
    "a plain read": (lambda alias: execute(alias, slow_read(0.6)), None),
}


@contextlib.contextmanager
def cut_at_work(cluster: LocalCluster, alias: str, way: str) -> Iterator[None]:
    """End the alias's session a moment after the block has begun."""
    if way == "reset":
        act = cluster.writer.reset
    else:
        ((number,),) = execute(alias, "SELECT CONNECTION_ID()")
        kill = f"KILL {number}"
        act = lambda: cluster.writer.query(kill)  # noqa: E731
    timer = threading.Timer(0.2, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize("way", ["reset", "KILL"])
@pytest.mark.parametrize("call", SLOW)
def test_a_loss_at_work_is_unknown_unless_it_is_a_plain_read(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    call: str,
    way: str,
) -> None:
    run, expected = SLOW[call]
    seen = pytest.raises(expected) if expected else contextlib.nullcontext()
    with seen, cut_at_work(cluster, writer, way):  # type: ignore[attr-defined]
        run(writer)
    assert is_clean(writer)
    insert(writer, 50)
    assert 50 in rows(cluster)


@pytest.mark.parametrize("way", ["reset", "KILL"])
@pytest.mark.parametrize("call", SLOW)
def test_a_loss_at_work_fails_the_block(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    call: str,
    way: str,
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 50)
        with cut_at_work(cluster, writer, way):
            SLOW[call][0](writer)
    assert is_clean(writer)
    assert rows(cluster) == []


@pytest.mark.parametrize("call", ["savepoint", "savepoint_commit", "savepoint_rollback", "commit", "rollback"])
def test_a_loss_while_a_transaction_is_being_ended_or_divided(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    call: str,
) -> None:
    """The statement is on its way when the line is cut."""
    expected = {"commit": TransactionResolutionUnknownError, "rollback": ZeroDivisionError}
    old = cluster.writer
    timer = threading.Timer(0.3, lambda: (old.reset(), old.heal()))
    with pytest.raises(expected.get(call, FailoverSuccessError)), transaction.atomic(using=writer):
        insert(writer, 50)
        SIDS[:] = [connections[writer].savepoint()]
        old.black_hole()
        timer.start()
        if call == "rollback":
            raise ZeroDivisionError
        if call != "commit":
            IN_A_BLOCK[call](writer)
    timer.join()
    assert is_clean(writer)
    insert(writer, 51)
    assert rows(cluster) == [51]


def test_a_session_cut_off_while_it_is_being_set_up_is_made_again(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    execute(aliases.add("met"), "SELECT 1")
    alias = aliases.add("w", init_command="DO SLEEP(0.5)")
    timer = threading.Timer(0.3, cluster.writer.reset)
    timer.start()
    insert(alias, 1)
    timer.join()
    assert rows(cluster) == [1]


@pytest.mark.parametrize("fetch", ["fetchone", "fetchmany", "fetchall", "iteration"])
def test_what_has_been_read_can_be_fetched_after_a_loss(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    fetch: str,
) -> None:
    """Rows have all arrived when execute() returns, so that no fetch can meet a loss."""
    with connections[writer].cursor() as cursor:
        cursor.execute("SELECT 1 UNION SELECT 2 UNION SELECT 3")
        end_at_rest(cluster, writer, "reset")
        if fetch == "iteration":
            found = list(cursor)
        elif fetch == "fetchone":
            found = [cursor.fetchone() for _ in range(3)]
        elif fetch == "fetchmany":
            found = [*cursor.fetchmany(2), *cursor.fetchmany(2)]
        else:
            found = list(cursor.fetchall())
    assert found == [(1,), (2,), (3,)]
