"""Failover: what became of each statement when its server went away, on real servers killed, frozen and demoted."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import Error, OperationalError, connections, models, transaction
from django.db.backends.signals import connection_created

from django_aurora_routing import (
    FailoverError,
    FailoverFailedError,
    FailoverSuccessError,
    TransactionResolutionUnknownError,
)
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_placement import server_of


def execute(alias: str, sql: str, params: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


def insert(alias: str, key: int) -> None:
    execute(alias, "INSERT INTO t VALUES (%s, 'a')", [key])


def rows(cluster: LocalCluster) -> list[int]:
    return [key for (key,) in cluster.writer.query("SELECT id FROM app.t ORDER BY id")]


@contextmanager
def promotion_after(cluster: LocalCluster, seconds: float) -> Iterator[None]:
    """Promote a reader in the background while the block runs."""
    thread = threading.Thread(target=lambda: (time.sleep(seconds), cluster.promote()))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def kill_and_promote(cluster: LocalCluster) -> None:
    cluster.writer.kill()
    cluster.promote()


@pytest.fixture
def writer(aliases: Aliases, table: str) -> str:
    alias = aliases.add("w")
    execute(alias, "SELECT 1")
    return alias


def is_clean(alias: str) -> bool:
    """Nothing of a lost transaction is left in Django's state."""
    c = connections[alias]
    return (c.in_atomic_block, c.needs_rollback, c.autocommit, c.run_on_commit, c.savepoint_ids, c.atomic_blocks) == (
        *(False, False, True, [], [], []),
    )


# Autocommit


def test_a_write_on_a_connection_found_dead_is_made_on_the_new_writer(cluster: LocalCluster, writer: str) -> None:
    cluster.writer.kill()
    with promotion_after(cluster, 0.3):
        insert(writer, 1)
    assert rows(cluster) == [1]
    assert server_of(writer) == cluster.writer.id


def test_a_read_that_was_cut_off_is_made_again_unseen(cluster: LocalCluster, writer: str) -> None:
    killer = threading.Timer(0.3, lambda: kill_and_promote(cluster))
    killer.start()
    # COUNT over a cross join runs for seconds, so the kill falls into it; no SLEEP(), which counts as an effect.
    names = ", ".join(f"information_schema.collations {name}" for name in "abc")
    result = execute(writer, f"SELECT COUNT(*) FROM {names} WHERE a.id > b.id")
    killer.join()
    assert result[0][0] > 0
    assert server_of(writer) == cluster.writer.id


def test_a_write_whose_answer_was_lost_is_reported_as_unknown(cluster: LocalCluster, writer: str) -> None:
    threading.Timer(0.3, lambda: kill_and_promote(cluster)).start()
    with pytest.raises(TransactionResolutionUnknownError) as unknown:
        execute(writer, "INSERT INTO t SELECT 1, SLEEP(2)")
    assert isinstance(unknown.value, OperationalError)
    assert unknown.value.__cause__ is not None
    insert(writer, 2)
    assert 2 in rows(cluster)


def test_a_planned_switchover_is_not_seen_in_autocommit(cluster: LocalCluster, writer: str) -> None:
    insert(writer, 1)
    cluster.promote()
    insert(writer, 2)  # the old writer is alive and refuses it with 1290
    assert rows(cluster) == [1, 2]
    assert server_of(writer) == cluster.writer.id


@pytest.mark.parametrize(
    "way", ["CALL two()", "INSERT INTO t VALUES (1, 'a'); DO SLEEP(1); INSERT INTO t VALUES (2, 'a')", None]
)
def test_what_was_refused_half_way_by_a_demoted_writer_is_unknown_and_not_repeated(
    cluster: LocalCluster, writer: str, way: str | None
) -> None:
    cluster.writer.query(
        "CREATE OR REPLACE PROCEDURE app.two() SQL SECURITY INVOKER "
        "BEGIN INSERT INTO t VALUES (1, 'a'); DO SLEEP(1); INSERT INTO t VALUES (2, 'a'); END"
    )
    cluster.catch_up()
    with promotion_after(cluster, 0.4), pytest.raises(TransactionResolutionUnknownError):
        if way is None:
            with connections[writer].cursor() as cursor:
                cursor.callproc("two")
        else:
            execute(writer, way)
    assert rows(cluster) == [1]


def test_a_write_that_was_refused_is_repeated_where_the_server_is_the_writer_again(
    cluster: LocalCluster, writer: str
) -> None:
    """Between its answer and our question it was promoted back. The first answer is one that a trigger gives once."""
    cluster.writer.query("CREATE OR REPLACE TABLE app.refused (n INT) ENGINE = Aria")  # rolled back with nothing
    cluster.writer.query(
        "CREATE OR REPLACE TRIGGER app.refuse BEFORE INSERT ON app.t FOR EACH ROW "
        "IF (SELECT COUNT(*) FROM app.refused) < 2 THEN INSERT INTO app.refused VALUES (1); SIGNAL SQLSTATE 'HY000' "
        "SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'The MariaDB server is running with the --read-only option'; END IF"
    )
    insert(writer, 1)
    assert rows(cluster) == [1]
    assert cluster.writer.query("SELECT COUNT(*) FROM app.refused") == [(2,)]
    cluster.writer.query("TRUNCATE app.refused")
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        execute(writer, "SELECT 1")  # a transaction that has done nothing yet is begun again
        insert(writer, 2)
    assert rows(cluster) == [1]


def test_a_write_on_a_reader_alias_stays_the_applications_error(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    reader = aliases.add("r", read_only=True)
    with pytest.raises(OperationalError) as refused:
        insert(reader, 1)
    assert not isinstance(refused.value, FailoverError)
    assert refused.value.args[0] in (1290, 1792)


def test_a_read_only_transaction_on_a_healthy_writer_is_no_failover(writer: str) -> None:
    with transaction.atomic(using=writer):
        execute(writer, "SELECT 1")
    execute(writer, "SET SESSION TRANSACTION READ ONLY")
    with pytest.raises(OperationalError) as refused:
        insert(writer, 1)
    assert refused.value.args[0] == 1792
    assert not isinstance(refused.value, FailoverError)


def test_a_killed_session_on_a_living_writer_comes_back_at_once(cluster: LocalCluster, writer: str) -> None:
    (ident,) = execute(writer, "SELECT CONNECTION_ID()")[0]
    cluster.writer.query(f"KILL {ident}")
    deadline = time.monotonic() + 10
    while not connections[writer].look(0) and time.monotonic() < deadline:
        time.sleep(0.005)  # KILL answers before it has killed
    insert(writer, 1)
    assert rows(cluster) == [1]


def test_executemany_that_was_cut_off_is_unknown(cluster: LocalCluster, writer: str) -> None:
    threading.Timer(0.3, lambda: kill_and_promote(cluster)).start()
    with pytest.raises(TransactionResolutionUnknownError), connections[writer].cursor() as cursor:
        cursor.executemany("INSERT INTO t SELECT %s, SLEEP(0.5)", [[key] for key in range(10)])


# Transactions


def test_a_loss_inside_atomic_rolls_the_block_back_and_a_second_run_succeeds(
    cluster: LocalCluster, writer: str
) -> None:
    def work() -> None:
        with transaction.atomic(using=writer):
            insert(writer, 1)
            if not killed:
                killed.append(kill_and_promote(cluster))
            insert(writer, 2)

    killed: list[None] = []
    with pytest.raises(FailoverSuccessError) as lost:
        work()
    assert lost.value.in_transaction
    assert is_clean(writer)
    assert rows(cluster) == []
    work()
    assert rows(cluster) == [1, 2]


def test_a_loss_inside_atomic_is_not_commited_by_halves_when_it_is_swallowed(
    cluster: LocalCluster, writer: str
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        kill_and_promote(cluster)
        with pytest.raises(FailoverError):
            insert(writer, 2)
        with pytest.raises(FailoverError):  # and so is everything after it
            insert(writer, 3)
    assert is_clean(writer)
    assert rows(cluster) == []


def test_a_loss_inside_a_nested_block_fails_the_outermost_one(cluster: LocalCluster, writer: str) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        try:
            with transaction.atomic(using=writer):
                kill_and_promote(cluster)
                insert(writer, 2)
        except OperationalError:
            pass
    assert is_clean(writer)
    assert rows(cluster) == []


def test_a_loss_inside_a_nested_block_without_savepoint_fails_the_outermost_one(
    cluster: LocalCluster, writer: str
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        try:
            with transaction.atomic(using=writer, savepoint=False):
                kill_and_promote(cluster)
                insert(writer, 2)
        except OperationalError:
            pass
    assert is_clean(writer)
    assert rows(cluster) == []


def test_the_bodys_own_error_is_not_hidden_by_the_loss(cluster: LocalCluster, writer: str) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=writer):
        execute(writer, "SELECT 1")
        kill_and_promote(cluster)
        with pytest.raises(FailoverError):
            insert(writer, 1)
        raise ZeroDivisionError
    assert is_clean(writer)
    insert(writer, 2)
    assert rows(cluster) == [2]


def test_a_loss_noticed_at_rollback_changes_nothing(cluster: LocalCluster, writer: str) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=writer):
        insert(writer, 1)
        kill_and_promote(cluster)
        raise ZeroDivisionError
    assert is_clean(writer)
    insert(writer, 2)
    assert rows(cluster) == [2]


def test_a_connection_found_dead_at_commit_has_certainly_lost_its_transaction(
    cluster: LocalCluster, writer: str
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        kill_and_promote(cluster)
    assert is_clean(writer)
    assert rows(cluster) == []


def test_a_commit_whose_answer_was_lost_is_unknown(cluster: LocalCluster, writer: str) -> None:
    old = cluster.writer
    with pytest.raises(TransactionResolutionUnknownError), transaction.atomic(using=writer):
        insert(writer, 1)
        old.black_hole()  # COMMIT is on its way, and no answer comes until the connection is reset
        threading.Timer(0.5, lambda: kill_and_promote(cluster)).start()
    assert is_clean(writer)


def test_a_write_refused_by_a_demoted_writer_rolls_the_block_back(cluster: LocalCluster, writer: str) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        execute(writer, "SELECT 1")
        cluster.promote()
        insert(writer, 1)
    assert is_clean(writer)
    insert(writer, 2)
    assert rows(cluster) == [2]


def test_beginning_on_a_dead_connection_begins_on_the_new_writer_unseen(cluster: LocalCluster, writer: str) -> None:
    kill_and_promote(cluster)
    with transaction.atomic(using=writer, durable=True):
        insert(writer, 1)
    assert rows(cluster) == [1]


def test_on_commit_runs_for_what_was_committed_only(cluster: LocalCluster, writer: str) -> None:
    ran: list[str] = []
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        transaction.on_commit(lambda: ran.append("lost"), using=writer)
        insert(writer, 1)
        kill_and_promote(cluster)
        insert(writer, 2)
    with transaction.atomic(using=writer):
        transaction.on_commit(lambda: ran.append("kept"), using=writer)
        insert(writer, 3)
    assert ran == ["kept"]


def test_transactions_by_hand_are_lost_as_a_whole_too(cluster: LocalCluster, writer: str) -> None:
    connection = connections[writer]
    transaction.set_autocommit(False, using=writer)
    try:
        insert(writer, 1)
        kill_and_promote(cluster)
        with pytest.raises(FailoverSuccessError):
            insert(writer, 2)
        with pytest.raises(FailoverSuccessError):
            transaction.commit(using=writer)
        transaction.rollback(using=writer)
        assert connection.autocommit is False
        insert(writer, 3)
        transaction.commit(using=writer)
    finally:
        transaction.set_autocommit(True, using=writer)
    assert rows(cluster) == [3]


def test_going_back_to_autocommit_on_a_dead_connection_is_reported_once(cluster: LocalCluster, writer: str) -> None:
    transaction.set_autocommit(False, using=writer)
    insert(writer, 1)
    kill_and_promote(cluster)
    with pytest.raises(FailoverSuccessError):
        transaction.set_autocommit(True, using=writer)
    assert is_clean(writer)
    insert(writer, 2)
    assert rows(cluster) == [2]


def test_closing_the_connection_inside_a_lost_block_does_not_hide_the_loss(cluster: LocalCluster, writer: str) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        kill_and_promote(cluster)
        with pytest.raises(FailoverError):
            insert(writer, 2)
        connections[writer].close()
    assert is_clean(writer)
    assert rows(cluster) == []


# Sessions


def test_a_new_session_is_set_up_by_djangos_own_path(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    created: list[Any] = []

    def note(sender: Any, connection: Any, **kwargs: Any) -> None:
        created.append(connection.alias)

    writer = aliases.add("w", isolation_level="serializable", init_command="SET @@sort_buffer_size = 400000")
    asks = "SELECT @@tx_isolation, @@sort_buffer_size, @@autocommit, @@character_set_client, @@sql_mode"
    before = execute(writer, asks)
    connection_created.connect(note)
    try:
        kill_and_promote(cluster)
        after = execute(writer, asks)
    finally:
        connection_created.disconnect(note)
    assert before == after
    assert before[0][:2] == ("SERIALIZABLE", 400000)
    assert created == [writer]


# Silence


def within(seconds: float, work: Callable[[], Any]) -> BaseException | None:
    """Run work in a thread of its own; fail if it is not over in time. Returns what it raised."""
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
            outcome.append(None)
        except (Error, AssertionError) as exc:
            outcome.append(exc)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert outcome, f"still running after {seconds} s"
    return outcome[0]


FAST_DETECTION = {
    "failure_detection_time_ms": 1000,
    "failure_detection_interval_ms": 300,
    "failure_detection_count": 2,
}


def test_a_frozen_writer_ends_a_blocked_write_within_the_bound_of_the_options(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    writer = aliases.add("w", **FAST_DETECTION)
    began: list[float] = []

    def work() -> None:
        insert(writer, 1)
        cluster.writer.freeze()
        began.append(time.monotonic())
        insert(writer, 2)

    error = within(15, work)
    assert isinstance(error, TransactionResolutionUnknownError)
    # 1 s + 2 x 0.3 s + 1 s by the options; the rest is for a busy machine
    assert time.monotonic() - began[0] < 8
    cluster.promote()
    assert within(15, lambda: insert(writer, 3)) is None
    assert 3 in rows(cluster)


@pytest.mark.slow
def test_a_frozen_writer_ends_a_blocked_write_within_ten_seconds_by_default(
    cluster: LocalCluster, aliases: Aliases, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer = aliases.add("w")
    began: list[float] = []
    ended: list[float] = []

    def work() -> None:
        insert(writer, 1)
        cluster.writer.freeze()
        began.append(time.monotonic())
        try:
            insert(writer, 2)
        finally:
            ended.append(time.monotonic())

    assert isinstance(within(60, work), TransactionResolutionUnknownError)
    print(f"ended after {ended[0] - began[0]:.1f} s; the bound is 5 s + 3 x 1 s + 1 s")
    cluster.promote()
    assert within(15, lambda: insert(writer, 3)) is None


def test_no_password_is_logged_by_anybody_during_a_failover(
    cluster: LocalCluster, aliases: Aliases, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    writer = aliases.add("w", **FAST_DETECTION, failover_timeout_sec=2)
    execute(writer, "SELECT 1")
    for instance in cluster.instances:
        instance.kill()
    with pytest.raises(FailoverFailedError) as failed:
        execute(writer, "SELECT 1")
    search = connections[writer]._search
    assert len(caplog.records) >= 3  # the C extension itself logs nothing
    assert cluster.password not in caplog.text + str(failed.value) + repr(search) + repr(vars(search.cluster))


def test_a_frozen_writer_is_left_for_the_promoted_one_by_a_read(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    writer = aliases.add("w", **FAST_DETECTION)
    old = cluster.writer

    def work() -> None:
        execute(writer, "SELECT 1")
        old.freeze()
        with promotion_after(cluster, 0.2):
            assert server_of(writer) != old.id

    assert within(20, work) is None


def test_a_slow_statement_on_a_healthy_writer_is_left_alone(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    writer = aliases.add("w", **FAST_DETECTION)
    assert within(20, lambda: execute(writer, "INSERT INTO t SELECT 1, SLEEP(4)")) is None
    assert rows(cluster) == [1]


def test_a_frozen_writer_that_nobody_replaces_ends_in_failover_failed(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    writer = aliases.add("w", failover_timeout_sec=2, **FAST_DETECTION)

    def work() -> None:
        execute(writer, "SELECT 1")
        cluster.writer.freeze()
        execute(writer, "SELECT 1")

    assert isinstance(within(20, work), FailoverFailedError)


# Readers


def test_a_reader_that_dies_costs_no_read(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    reader = aliases.add("r", read_only=True)
    first = server_of(reader)
    cluster.instance(first).kill()
    second = server_of(reader)
    assert second not in (first, cluster.writer.id)


# Numbers


class Kept(models.Model):
    k = models.CharField(max_length=32)

    class Meta:
        app_label = "failover"
        db_table = "k"
        managed = False

    def __str__(self) -> str:
        return self.k


@pytest.mark.slow
def test_twenty_kills_lose_and_double_nothing(cluster: LocalCluster, aliases: Aliases) -> None:
    """Each acknowledged row is there once; a row whose fate was unknown is there once or not at all."""
    cluster.writer.query("DROP TABLE IF EXISTS app.k")
    cluster.writer.query("CREATE TABLE app.k (id BIGINT AUTO_INCREMENT PRIMARY KEY, k CHAR(32))")
    alias = aliases.add("w")
    execute(alias, "SELECT 1")  # the process has met its cluster
    acknowledged: set[str] = set()
    unknown: set[str] = set()
    surprises: list[BaseException] = []
    stop = threading.Event()

    def load() -> None:
        try:
            while not stop.is_set():
                key = uuid.uuid4().hex
                try:
                    Kept.objects.using(alias).create(k=key)
                    acknowledged.add(key)
                except TransactionResolutionUnknownError:
                    unknown.add(key)
        except Exception as exc:
            surprises.append(exc)
            raise
        finally:
            connections[alias].close()

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            old = cluster.writer
            count = len(acknowledged)
            old.kill()
            cluster.promote()
            deadline = time.monotonic() + 30
            while len(acknowledged) < count + 5 and not surprises and time.monotonic() < deadline:
                time.sleep(0.01)
            old.revive()
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    found = [key for (key,) in cluster.writer.query("SELECT k FROM app.k")]
    assert surprises == []
    assert len(acknowledged) >= 100
    assert acknowledged - set(found) == set(), "lost"
    assert len(found) == len(set(found)), "doubled"
    assert set(found) <= acknowledged | unknown
