"""Lag: what the topology of a real cluster proves of its readers, and how soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.db import connections
from django.test import override_settings

from django_aurora_routing.core.staleness import is_caught_up
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.routing import lag, readers
from django_aurora_routing.routing.clusters import Cluster, clusters
from django_aurora_routing.routing.scopes import scope
from tests.backends.conftest import Aliases

PLAIN = Cluster("default", "w", ("r",))


@pytest.fixture
def routed(aliases: Aliases, cluster: LocalCluster) -> Cluster:
    """A writer's and a reader's alias on the lab's cluster, with an empty table, both connected."""
    cluster.writer.query("CREATE OR REPLACE TABLE app.lags (id INT)")
    cluster.catch_up()
    for alias in (aliases.add("w"), aliases.add("r", read_only=True)):
        run(alias, "SELECT 1")
    return PLAIN


def run(alias: str, sql: str) -> list[tuple[int, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def write(number: int) -> float:
    """Commit a row; when, by `time.monotonic()`."""
    run("w", f"INSERT INTO lags VALUES ({number})")
    return time.monotonic()


def wait_until_caught_up(committed_at: float, *, seconds: float = 10.0) -> float:
    """Ask as a scope does on each of its reads; how long it took, in seconds."""
    while not is_caught_up(committed_at, lag.lags(PLAIN)):
        lag.request_newer(PLAIN)
        assert time.monotonic() - committed_at < seconds
        time.sleep(0.001)
    return time.monotonic() - committed_at


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def lag_of(reader: str) -> lag.Lag:
    return next(one for one in lag.lags(PLAIN) if one.reader == reader)


def test_every_reader_of_the_one_alias_is_known(routed: Cluster, cluster: LocalCluster) -> None:
    assert {one.reader for one in lag.lags(routed)} == {reader.id for reader in cluster.readers}
    now = time.monotonic()
    assert all(now - 10 < one.seen_at <= now and 0 <= one.seconds < 10 for one in lag.lags(routed))


def test_trap_40_a_commit_is_caught_up_when_every_reader_can_show_it(routed: Cluster, cluster: LocalCluster) -> None:
    took = []
    for number in range(50):
        committed_at = write(number)
        took.append(wait_until_caught_up(committed_at))
        for reader in cluster.readers:
            assert reader.query("SELECT MAX(id) FROM app.lags") == [(number,)], reader.id
    took.sort()
    print(f"caught up after {took[25] * 1000:.1f} ms (median), {took[-1] * 1000:.1f} ms (longest)")


def test_the_lag_of_a_delayed_reader_is_seen_and_so_is_its_end(routed: Cluster, cluster: LocalCluster) -> None:
    late, other = cluster.readers
    late.delay_replication(30)
    committed_at = write(1)

    def is_seen_late() -> bool:
        lag.request_newer(PLAIN)
        return lag_of(late.id).seconds > 1.0

    wait_for(is_seen_late)
    seen = lag_of(late.id)
    assert seen.applied_until < committed_at
    assert abs(seen.applied_until - committed_at) < 1.5, "it is behind by this one commit, as far as it is looked at"
    wait_for(lambda: (lag.request_newer(PLAIN), lag_of(other.id).applied_until > committed_at)[1])
    assert not is_caught_up(committed_at, lag.lags(routed)), "one of two is not enough"
    assert late.query("SELECT id FROM app.lags") == []

    late.delay_replication(0)
    wait_for(lambda: late.query("SELECT id FROM app.lags") == [(1,)])
    applied_at = time.monotonic()
    wait_until_caught_up(committed_at, seconds=60)
    print(f"known {(time.monotonic() - applied_at) * 1000:.1f} ms after the reader had it")
    assert time.monotonic() - applied_at < 5


def test_asking_for_newer_does_not_wait_and_ends_by_itself(routed: Cluster, cluster: LocalCluster) -> None:
    known = connections["r"].known_cluster()
    before = threading.active_count()
    assert known is not None
    wait_until_caught_up(write(1))
    for reader in cluster.readers:
        reader.delay(0.5)  # each question takes a second now
    began = time.monotonic()
    for _ in range(1000):
        lag.request_newer(routed)
        lag.lags(routed)
    assert time.monotonic() - began < 0.5
    for reader in cluster.readers:
        reader.heal()

    def asked_at() -> float:
        return float(known.view.topology.asked_at)

    last = asked_at()
    wait_for(lambda: asked_at() > last)
    time.sleep(2.5)  # one that was still on its way, and then half a second
    last = asked_at()
    time.sleep(1.0)
    assert asked_at() == last, "nobody waits, so it asks every 30 s again"
    assert threading.active_count() <= before


def test_lag_is_unknown_without_a_source_that_knows_every_reader(routed: Cluster, aliases: Aliases) -> None:
    alone = aliases.add("alone", plugins="")
    unmet = aliases.add("unmet", read_only=True, cluster_id="nobody-has-connected-to-it")
    assert lag.lags(Cluster("other", "w", ("r", alone))) == ()
    assert lag.lags(Cluster("other", "w", (unmet,))) == ()
    assert lag.lags(Cluster("other", "w", ("default",))) == ()
    lag.request_newer(Cluster("other", "w", (alone, unmet, "default")))
    assert connections[unmet].known_cluster() is None, "who asks for lag connects to nothing"


def test_lag_is_unknown_while_the_writer_is(routed: Cluster, cluster: LocalCluster) -> None:
    committed_at = write(1)
    wait_until_caught_up(committed_at)
    cluster.writer.kill()
    known = connections["r"].known_cluster()
    assert known is not None
    known.suspect(known.view.topology.writer.address, "killed")  # as the first failed statement does
    assert lag.lags(routed) == ()
    cluster.promote()
    wait_for(lambda: bool(lag.lags(routed)))
    assert run("w", "SELECT id FROM lags") == [(1,)]
    wait_until_caught_up(write(2), seconds=30)


def test_a_source_can_be_anybody() -> None:
    class Heartbeat:
        asked: list[str] = []

        def lags(self, alias: str) -> tuple[lag.Lag, ...]:
            return (lag.Lag(alias, 0.25, 10.0),)

        def request_newer(self, alias: str) -> None:
            self.asked.append(alias)

    source = Heartbeat()
    lag.add_source(source)
    try:
        pair = Cluster("other", "default", ("default", "external"))
        assert lag.lags(pair) == (lag.Lag("default", 0.25, 10.0), lag.Lag("external", 0.25, 10.0))
        lag.request_newer(pair)
        assert source.asked == ["default", "external"]
    finally:
        lag._sources.remove(source)


def test_a_source_that_takes_its_time_makes_no_reader_look_nearer() -> None:
    class Slow:
        def lags(self, alias: str) -> tuple[lag.Lag, ...]:
            time.sleep(0.15)  # as the first question does, which imports a backend
            return (lag.Lag(alias, 0.2, time.monotonic()),)

        def request_newer(self, alias: str) -> None:
            pass

    source = Slow()
    lag.add_source(source, first=True)
    try:
        assert readers.fit_readers(Cluster("other", "default", ("external",)), 0.1) == ()
    finally:
        lag.remove_source(source)


@pytest.fixture
def pinned_by_lag(routed: Cluster) -> Iterator[Cluster]:
    routing = {"CLUSTERS": {"main": {"writer": "w", "readers": ["r"]}}, "PIN_POLICY": "lag", "PIN_SECONDS": 3.0}
    with override_settings(AURORA_ROUTING=routing):
        yield clusters().by_name["main"]


def test_a_scope_that_has_written_reads_from_readers_as_soon_as_they_have_it(pinned_by_lag: Cluster) -> None:
    took = []
    for number in range(30):
        with scope() as work:
            assert not work.must_read_its_writes(pinned_by_lag)
            committed_at = write(number)
            assert work.must_read_its_writes(pinned_by_lag)
            while work.must_read_its_writes(pinned_by_lag):
                time.sleep(0.001)
            took.append(time.monotonic() - committed_at)
            assert run("r", "SELECT MAX(id) FROM lags") == [(number,)]
    took.sort()
    print(f"read from the writer for {took[15] * 1000:.1f} ms (median), {took[-1] * 1000:.1f} ms (longest)")
    assert took[15] < 1.0, "not until PIN_SECONDS are over"


def test_a_scope_waits_for_a_late_reader_no_longer_than_pin_seconds(
    pinned_by_lag: Cluster, cluster: LocalCluster
) -> None:
    cluster.readers[0].delay_replication(30)
    with scope() as work:
        committed_at = write(1)
        while work.must_read_its_writes(pinned_by_lag):
            time.sleep(0.01)
    assert 2.9 < time.monotonic() - committed_at < 4.0


def test_another_scope_is_not_pinned_by_it_and_one_that_adopts_it_is(
    pinned_by_lag: Cluster, cluster: LocalCluster
) -> None:
    for reader in cluster.readers:
        reader.delay_replication(30)
    with scope() as work:
        write(1)
        carried = work.commits()
    with scope() as other:
        assert not other.must_read_its_writes(pinned_by_lag)
        other.adopt(carried)
        assert other.must_read_its_writes(pinned_by_lag)
        for reader in cluster.readers:
            reader.delay_replication(0)
        while other.must_read_its_writes(pinned_by_lag):
            time.sleep(0.001)
        assert [reader.query("SELECT id FROM app.lags") for reader in cluster.readers] == [[(1,)], [(1,)]]
