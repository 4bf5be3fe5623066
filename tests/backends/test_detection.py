"""Detection: wherever a statement or a connect waits for a host that went silent, it ends in time; none else ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import Error, OperationalError, connections, transaction

from django_aurora_routing import FailoverError
from django_aurora_routing.lab import Instance, LocalCluster

from .conftest import ON_MYSQLCLIENT, Aliases
from .test_failover import FAST_DETECTION, execute, insert, rows, within
from .test_placement import server_of

# The bound of FAST_DETECTION is 1 s + 2 x 0.3 s + 1 s. Without it the shortest of these would take 10 s, by the connect
# timeout, and the others for ever. What is between is for a busy machine.
IN_TIME = 8.0

FALL_SILENT = {"frozen": Instance.freeze, "black-holed": Instance.black_hole}


def seconds_until_lost(work: Callable[[], Any]) -> float:
    """How long it takes until it fails as a lost connection does, and not as a failover."""
    began = time.monotonic()
    error = within(30, work)
    print(repr(error))
    assert isinstance(error, OperationalError)
    assert not isinstance(error, FailoverError)
    return time.monotonic() - began


def writes(alias: str, silence: Callable[[], None]) -> None:
    silence()
    insert(alias, 1)


def commits(alias: str, silence: Callable[[], None]) -> None:
    with transaction.atomic(using=alias):
        insert(alias, 1)
        silence()


def rolls_back(alias: str, silence: Callable[[], None]) -> None:
    with transaction.atomic(using=alias):
        insert(alias, 1)
        silence()
        transaction.set_rollback(True, using=alias)


def begins(alias: str, silence: Callable[[], None]) -> None:
    silence()
    with transaction.atomic(using=alias):
        pass


def fetches(alias: str, silence: Callable[[], None]) -> None:
    """16 MB take their time; the silence comes between the first row and the last."""
    threading.Timer(0.3, silence).start()
    execute(alias, "SELECT seq, REPEAT('x', 8000), SLEEP(0.001) FROM seq_1_to_2000")


@pytest.mark.parametrize("silent", FALL_SILENT)
@pytest.mark.parametrize("place", [writes, commits, rolls_back, begins, fetches])
def test_a_host_that_falls_silent_ends_what_waits_for_it(
    cluster: LocalCluster, aliases: Aliases, table: str, place: Callable[..., None], silent: str
) -> None:
    alias = aliases.add("w", plugins="host_monitoring", **FAST_DETECTION)
    instance = cluster.writer

    def work() -> None:
        execute(alias, "SELECT 1")
        place(alias, lambda: FALL_SILENT[silent](instance))

    if place is rolls_back:  # a lost connection is rolled back; Django says nothing
        began = time.monotonic()
        within(30, work)
        assert time.monotonic() - began < IN_TIME
    else:
        assert seconds_until_lost(work) < IN_TIME


@pytest.mark.parametrize("plugins", ["host_monitoring_v2", "failover"])
@pytest.mark.parametrize("silent", FALL_SILENT)
def test_a_host_that_is_silent_from_the_beginning_is_not_waited_for_any_longer(
    cluster: LocalCluster, aliases: Aliases, table: str, silent: str, plugins: str
) -> None:
    """Frozen, its address takes the connection and never greets; black-holed, it does not take it either."""
    execute(aliases.add("met", **FAST_DETECTION), "SELECT 1")
    alias = aliases.add("w", plugins=plugins, failover_timeout_sec=1, **FAST_DETECTION)
    FALL_SILENT[silent](cluster.writer)
    began = time.monotonic()
    assert isinstance(within(30, lambda: execute(alias, "SELECT 1")), Error)
    assert time.monotonic() - began < IN_TIME


@pytest.mark.parametrize("silent", FALL_SILENT)
def test_nor_is_one_that_nobody_has_met_yet(cluster: LocalCluster, aliases: Aliases, silent: str) -> None:
    alias = aliases.add("w", **FAST_DETECTION)
    FALL_SILENT[silent](cluster.writer)
    assert seconds_until_lost(lambda: execute(alias, "SELECT 1")) < IN_TIME


@pytest.mark.parametrize("answers", range(6 if ON_MYSQLCLIENT else 7))  # which asks once less
def test_nor_is_one_that_falls_silent_anywhere_in_a_connect(
    cluster: LocalCluster, aliases: Aliases, table: str, answers: int
) -> None:
    """Each answer takes 0.1 s on the wire, so that the silence falls behind the given number of them."""
    execute(aliases.add("met", **FAST_DETECTION), "SELECT 1")
    alias = aliases.add("w", plugins="host_monitoring", **FAST_DETECTION)
    instance = cluster.writer
    instance.delay(0.1)
    threading.Timer(0.1 * answers + 0.05, instance.black_hole).start()
    assert seconds_until_lost(lambda: execute(alias, "DO SLEEP(1)")) < IN_TIME


def test_a_session_whose_writer_was_replaced_asks_a_silent_host_no_longer(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    """A write refused as read-only: the host is asked for its role, and that may be the moment when it falls silent."""
    alias = aliases.add("w", **FAST_DETECTION)
    old = cluster.writer

    def work() -> None:
        execute(alias, "SELECT 1")
        cluster.promote()
        old.delay(0.3)
        threading.Timer(0.45, old.black_hole).start()
        insert(alias, 1)

    began = time.monotonic()
    assert within(30, work) is None
    assert time.monotonic() - began < IN_TIME
    assert rows(cluster) == [1]


@pytest.mark.parametrize("plugins", ["", "initial_connection"])
def test_without_host_monitoring_nobody_looks(cluster: LocalCluster, aliases: Aliases, plugins: str) -> None:
    alias = aliases.add("w", plugins=plugins, **FAST_DETECTION)
    instance = cluster.writer

    def work() -> None:
        execute(alias, "SELECT 1")
        threading.Timer(0.2, instance.freeze).start()
        threading.Timer(5.0, instance.thaw).start()
        execute(alias, "DO SLEEP(1)")

    began = time.monotonic()
    assert within(30, work) is None
    assert time.monotonic() - began > 4.5


def threads(kind: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"aurora-host-{kind}")]


def test_one_thread_watches_while_statements_run_and_none_at_rest(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    """The hosts of overdue statements are asked by one thread each, however many statements there are."""
    writer, reader = aliases.add("w", **FAST_DETECTION), aliases.add("r", read_only=True, **FAST_DETECTION)
    hosts = {server_of(writer), server_of(reader)}
    monitors, checks, connects = set(), set(), set()

    def work(alias: str) -> None:
        execute(alias, "DO SLEEP(4)")
        connections[alias].close()

    workers = [threading.Thread(target=work, args=(alias,)) for alias in (writer, reader) * 5]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        monitors.add(len(threads("monitor")))
        checks.add(len(threads("check")))
        connects.add(len(threads("connect")))
        time.sleep(0.01)
    assert max(monitors) == 1
    assert 1 <= max(checks) <= len({*hosts, *(instance.id for instance in cluster.readers)})
    assert max(connects) <= 2 * max(checks)
    deadline = time.monotonic() + 20  # it lingers for 10 s
    while threads("") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert threads("") == []


@pytest.mark.parametrize(
    "monitors_own",
    [
        {"monitoring-connect_timeout": 1},
        {"monitoring-password": "not-this-one"},
        {"monitoring-user": "nobody"},
        {"monitoring-charset": "latin1"},
        # The lab speaks no TLS: this cannot connect, but the host has greeted.
        {"monitoring-ssl_verify_cert": True, "monitoring-ssl_ca": "/nowhere.pem"} if not ON_MYSQLCLIENT else {},
    ],
    ids=str,
)
def test_a_slow_statement_is_left_alone_whatever_the_monitor_connects_with(
    cluster: LocalCluster, aliases: Aliases, table: str, monitors_own: dict[str, Any]
) -> None:
    alias = aliases.add("w", **FAST_DETECTION, **monitors_own)
    assert within(20, lambda: execute(alias, "INSERT INTO t SELECT 1, SLEEP(4)")) is None
    assert rows(cluster) == [1]
