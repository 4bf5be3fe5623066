"""Storms: however many threads wait for a server, the process tries to connect a bounded number of times a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import OperationalError, connections

from django_aurora_routing.cluster.gate import MAX_CONNECTING
from django_aurora_routing.core.options import Options
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import execute, insert, rows
from .test_placement import server_of

CROWD = 100


@contextmanager
def attempts(alias: str) -> Iterator[list[float]]:
    """The moments at which this process, monitors included, begins to connect."""
    driver, times = type(connections[alias].driver), []
    plain = driver.connect

    def noted(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        times.append(time.monotonic())
        return plain(self, *args, **kwargs)

    driver.connect = noted
    try:
        yield times
    finally:
        driver.connect = plain


@contextmanager
def crowd(alias: str) -> Iterator[list[BaseException | None]]:
    """That many threads insert a row each; what came of it, when the block ends and all have come back."""
    outcomes: list[BaseException | None] = []

    def work(key: int) -> None:
        try:
            insert(alias, key)
            outcomes.append(None)
        except OperationalError as exc:
            outcomes.append(exc)
        finally:
            connections[alias].close()

    threads = [threading.Thread(target=work, args=(key,)) for key in range(CROWD)]
    for thread in threads:
        thread.start()
    yield outcomes
    for thread in threads:
        thread.join(60)


def test_a_crowd_without_a_writer_leaves_the_search_to_a_few(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    alias = aliases.add("w")
    execute(alias, "SELECT 1")
    a_second = (len(cluster.instances) + 1) / (Options().reconnect_interval / 2)  # a probe for each instance and HOST
    with attempts(alias) as times:
        cluster.writer.kill()
        with crowd(alias) as outcomes:
            time.sleep(3)
            searching = len(times)
            promotion = cluster.promote()
    assert outcomes == [None] * CROWD
    assert rows(cluster) == list(range(CROWD))
    assert 3 < searching < 3 * a_second + MAX_CONNECTING
    # Who waited has connected once, and nobody twice.
    assert len([at for at in times if at > promotion.writable]) < CROWD + a_second + MAX_CONNECTING


@contextmanager
def full(cluster: LocalCluster, aliases: Aliases) -> Iterator[Callable[[], None]]:
    """The writer takes no more connections, until what this gives is called or the block ends."""
    (before,) = cluster.writer.query("SELECT @@max_connections")[0]
    others = [aliases.add(f"c{number}", plugins="") for number in range(12)]

    def make_room() -> None:
        for other in others:
            connections[other].close()
        cluster.writer.query(f"SET GLOBAL max_connections = {before}")

    cluster.writer.query("SET GLOBAL max_connections = 10")
    try:
        for other in others:
            with suppress(OperationalError):  # "Too many connections", for the last of them
                connections[other].ensure_connection()
        yield make_room
    finally:
        make_room()


def test_a_server_that_takes_no_more_connections_is_not_stormed(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    alias = aliases.add("w", connect_timeout=10)
    execute(alias, "SELECT 1")
    with full(cluster, aliases) as make_room, attempts(alias) as times, crowd(alias) as outcomes:
        time.sleep(2)
        refused = len(times)
        make_room()
    assert 0 < refused <= MAX_CONNECTING + 5 + 2 + 1
    assert outcomes == [None] * CROWD
    assert rows(cluster) == list(range(CROWD))


@pytest.mark.parametrize("plugins", ["failover_v2", "host_monitoring_v2"])
def test_who_never_had_a_turn_is_told_what_the_others_met(
    cluster: LocalCluster, aliases: Aliases, table: str, plugins: str
) -> None:
    """Of a crowd at a full server some two a second have a turn. The others wait no longer, and for the same error."""
    alias = aliases.add("w", connect_timeout=3, plugins=plugins)
    execute(alias, "SELECT 1")
    with full(cluster, aliases):
        began = time.monotonic()
        with crowd(alias) as outcomes:
            pass
        seconds = time.monotonic() - began
    assert len(outcomes) == CROWD
    assert {type(outcome) for outcome in outcomes} == {OperationalError}
    assert all("Too many connections" in str(outcome) for outcome in outcomes)
    assert all(outcome.args[0] == 1040 for outcome in outcomes if outcome is not None)
    assert 2 < seconds < 15


def test_a_crowd_that_was_connecting_to_the_writer_when_it_died_follows_to_the_new_one(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    """All but a few wait for their turn at the dead one by then: none of them may stay there."""
    alias = aliases.add("w", failover_timeout_sec=30)
    execute(alias, "SELECT 1")
    others = [aliases.add(f"w{number}", failover_timeout_sec=30) for number in range(2)]  # of the same cluster
    outcomes: list[tuple[float, str]] = []
    cluster.writer.delay(0.3)  # so that most of them are still waiting to connect when it dies

    def work(name: str) -> None:
        try:
            outcome = server_of(name)
        except OperationalError as exc:
            outcome = f"{type(exc).__name__}: {exc}"
        outcomes.append((time.monotonic(), outcome))
        connections[name].close()

    threads = [threading.Thread(target=work, args=((alias, *others)[number % 3],)) for number in range(200)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    early = len(outcomes)
    cluster.writer.kill()
    time.sleep(2)
    promotion = cluster.promote()
    for thread in threads:
        thread.join(60)
    late = outcomes[early:]
    assert len(late) > 100
    assert {outcome for _, outcome in late} == {cluster.writer.id}
    assert max(at for at, _ in late) - promotion.writable < 10


def test_a_server_that_refuses_a_login_has_answered(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    alias = aliases.add("w", connect_timeout=1)
    execute(alias, "SELECT 1")
    search = connections[alias]._search
    assert search is not None
    gate, address = search.cluster.gate, search.cluster.view.topology.writer.address
    connections[alias].close()
    with full(cluster, aliases), pytest.raises(OperationalError, match="Too many connections"):
        execute(alias, "SELECT 1")
    assert gate.last_failure(address) is not None
    refused = aliases.add("refused", PASSWORD="sesame-open")
    with pytest.raises(OperationalError) as error:
        execute(refused, "SELECT 1")
    assert error.value.args[0] == 1045
    assert gate.last_failure(address) is None  # nobody has to wait for his turn there any more
