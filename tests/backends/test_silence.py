"""Silence: a server that stops answering at any moment of a connect costs a bounded time, never a hang."""

from __future__ import annotations

import threading
import time

import pytest

from django_aurora_routing.lab import LocalCluster

from .conftest import ON_MYSQLCLIENT, Aliases
from .test_failover import FAST_DETECTION, execute, insert, promotion_after, rows, within


@pytest.mark.parametrize("answers", range(6 if ON_MYSQLCLIENT else 5))  # it sends one statement more
def test_a_writer_frozen_anywhere_in_a_connect_is_left_for_the_promoted_one(
    cluster: LocalCluster, aliases: Aliases, table: str, answers: int
) -> None:
    """Each answer of the writer takes 0.1 s on the wire, so that the freeze falls behind the given number of them."""
    execute(aliases.add("met"), "SELECT 1")
    writer = aliases.add("w", connect_timeout=2, **FAST_DETECTION)
    old = cluster.writer
    old.delay(0.1)
    freezer = threading.Timer(0.1 * answers + 0.05, old.freeze)

    def work() -> None:
        freezer.start()
        with promotion_after(cluster, 1.0):
            insert(writer, 1)

    began = time.monotonic()
    assert within(20, work) is None
    assert time.monotonic() - began < 10
    assert rows(cluster) == [1]
