"""Stale names: HOST goes on leading to the old writer after a failover, and nobody stays there or writes there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction

from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_cold_start import TIMEOUT
from .test_failover import FAST_DETECTION, insert, rows
from .test_placement import server_of


def dead(cluster: LocalCluster) -> None:
    cluster.writer.kill()
    cluster.promote()


def frozen(cluster: LocalCluster) -> None:
    cluster.writer.freeze()
    cluster.promote()


def demoted(cluster: LocalCluster) -> None:
    cluster.promote()


def back_as_a_reader(cluster: LocalCluster) -> None:
    old = cluster.writer
    old.kill()
    cluster.promote()
    old.revive()


OLD_WRITERS = [dead, frozen, demoted, back_as_a_reader]


@pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
@pytest.mark.parametrize("fate", OLD_WRITERS)
def test_a_process_that_starts_then_is_on_the_new_writer(
    cluster: LocalCluster, aliases: Aliases, table: str, fate: Callable[[LocalCluster], None], is_atomic: bool
) -> None:
    old = cluster.writer
    cluster.hold_endpoint()
    fate(cluster)
    alias = aliases.add("w", hosts=[i.host for i in cluster.instances if i != old], connect_timeout=TIMEOUT)
    with transaction.atomic(using=alias) if is_atomic else contextlib.nullcontext():
        insert(alias, 1)  # in a transaction nothing would be repeated unseen
        assert server_of(alias) == cluster.writer.id
    assert rows(cluster) == [1]


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("fate", OLD_WRITERS)
def test_a_process_that_had_met_the_cluster_moves_to_the_new_writer(
    cluster: LocalCluster, aliases: Aliases, table: str, fate: Callable[[LocalCluster], None], is_closed: bool
) -> None:
    alias = aliases.add("w", connect_timeout=3, **FAST_DETECTION)
    assert server_of(alias) == cluster.writer.id
    cluster.hold_endpoint()
    fate(cluster)
    if is_closed:
        connections[alias].close()
        assert server_of(alias) == cluster.writer.id  # also for a read, which the old one would answer
    elif fate is frozen:
        server_of(alias)  # a write that it swallows is of unknown fate
    insert(alias, 1)
    assert rows(cluster) == [1]
    assert server_of(alias) == cluster.writer.id


@pytest.mark.parametrize("is_known", [False, True], ids=["first connection", "later one"])
def test_the_writer_is_verified_after_the_connect(cluster: LocalCluster, aliases: Aliases, is_known: bool) -> None:
    """It is demoted when it has been named as the writer, just before the connection to it is opened."""
    alias = aliases.add("w")
    if is_known:
        server_of(alias)
        connections[alias].close()
    driver: Any = type(connections[alias].driver)
    plain_connect, caller, demotions = driver.connect, threading.current_thread(), []

    def late(self: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is caller and not demotions:
            demotions.append(cluster.promote())
        return plain_connect(self, *args, **kwargs)

    driver.connect = late
    try:
        assert server_of(alias) == cluster.writer.id
    finally:
        driver.connect = plain_connect
    assert len(demotions) == 1
