"""Monitors: they take no living host for dead, and no trouble of theirs stands in an application's way."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import OperationalError, connections

from django_aurora_routing import release_resources
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import FAST_DETECTION, execute, insert, kill_and_promote, rows
from .test_placement import server_of


def test_a_host_that_takes_no_more_connections_is_alive(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    writer = aliases.add("w", **FAST_DETECTION)
    execute(writer, "SELECT 1")
    (before,) = cluster.writer.query("SELECT @@max_connections")[0]
    crowd = [aliases.add(f"c{number}", plugins="") for number in range(12)]
    cluster.writer.query("SET GLOBAL max_connections = 10")
    try:
        refused = 0
        for alias in crowd:
            try:
                connections[alias].ensure_connection()
            except OperationalError as exc:
                refused += exc.args[0] == 1040
        assert refused > 0
        execute(writer, "INSERT INTO t SELECT 2, SLEEP(4)")
    finally:
        for alias in crowd:
            connections[alias].close()
        cluster.writer.query(f"SET GLOBAL max_connections = {before}")
    assert rows(cluster) == [2]


@pytest.mark.parametrize("is_kept", [True, False])
def test_released_monitors_go_on_at_the_next_use(cluster: LocalCluster, aliases: Aliases, is_kept: bool) -> None:
    alias = aliases.add("r", read_only=True)
    server_of(alias)
    monitor = connections[alias].known_cluster().topology_monitor
    before = connections[alias].connection
    release_resources(10)
    assert not monitor.is_running
    if not is_kept:
        connections[alias].close()
    server_of(alias)
    assert monitor.is_running
    assert (connections[alias].connection is before) is is_kept


def test_a_load_that_changes_while_one_connects_makes_no_writer_a_wrong_one(
    cluster: LocalCluster, aliases: Aliases
) -> None:
    writer = aliases.add("w", topology_refresh_ms=1, failover_timeout_sec=5)
    execute(writer, "SELECT 1")
    stop = threading.Event()
    instance = cluster.writer

    def change() -> None:
        cpu = 0.0
        while not stop.is_set():
            cpu = (cpu + 1) % 100
            instance.report(cpu=cpu)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(40):
            connections[writer].close()
            assert server_of(writer) == instance.id
    finally:
        stop.set()
        thread.join()
        instance.report(cpu=None)


def test_credentials_refused_to_one_alias_do_not_stand_in_the_way_of_another(
    cluster: LocalCluster, aliases: Aliases
) -> None:
    wrong, right = aliases.add("wrong", PASSWORD="sesame-open"), aliases.add("right")
    with pytest.raises(OperationalError):
        connections[wrong].ensure_connection()
    assert server_of(right) == cluster.writer.id


def test_monitors_whose_user_is_gone_do_not_stop_a_failover(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    cluster.writer.query("CREATE OR REPLACE USER gone@'%' IDENTIFIED BY 'for-now'")
    cluster.writer.query("GRANT SELECT, INSERT ON app.* TO gone@'%'")
    cluster.catch_up()
    writer, gone = aliases.add("w"), aliases.add("g", USER="gone", PASSWORD="for-now")
    execute(writer, "SELECT 1")
    execute(gone, "SELECT 1")  # the last to connect lends its credentials to the monitors
    connections[gone].close()
    cluster.writer.query("DROP USER gone@'%'")
    cluster.catch_up()
    began = time.monotonic()
    kill_and_promote(cluster)
    insert(writer, 1)
    assert time.monotonic() - began < 20
    assert rows(cluster) == [1]
