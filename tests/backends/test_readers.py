"""Choosing readers: strategies, weights, lag and zone on real servers, and a reader that dies under reads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connections

from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.lab.handles import Instance

from .aws_services import Zones
from .conftest import REGION, Aliases

pytestmark = pytest.mark.lab


class Kept:
    """Connections of one alias that stay open, as those of many threads do."""

    def __init__(self, alias: str, count: int) -> None:
        self.all: list[Any] = [connections.create_connection(alias) for _ in range(count)]
        for connection in self.all:
            connection.unit_began = float("-inf")  # of jobs, not of requests

    def servers(self) -> Counter[str]:
        """Where each of them is, having run a statement."""
        return Counter(map(server_of, self.all))

    def wait_until(self, is_so: Callable[[Counter[str]], bool], seconds: float = 20.0) -> Counter[str]:
        """Use them until it is so; at the most as long."""
        deadline = time.monotonic() + seconds
        while not is_so(found := self.servers()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def close(self) -> None:
        for connection in self.all:
            connection.close()


def server_of(connection: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@aurora_server_id")
        return str(cursor.fetchone()[0])


@pytest.fixture
def kept(aliases: Aliases, request: pytest.FixtureRequest) -> Callable[..., Kept]:
    """Makes an alias that reads, and connections of it."""

    def make(count: int, alias: str = "r", **options: Any) -> Kept:
        options = {"read_only": True, "topology_refresh_ms": 100, **options}
        made = Kept(aliases.add(alias, **options), count)
        request.addfinalizer(made.close)
        return made

    return make


def test_each_strategy_spreads_as_it_says(cluster: LocalCluster, kept: Callable[..., Kept]) -> None:
    one, other = cluster.readers
    one.report(cpu=5, lag_ms=100)
    other.report(cpu=95, lag_ms=10)
    other.delay(0.02)
    weights = {"weighted_random_host_weight_pairs": {one.id: 1, other.id: 3}}
    turns = {"round_robin_host_weight_pairs": f"{one.id}:1,{other.id}:3"}
    expected: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
        "round_robin": (turns, {one.id: 1, other.id: 3}),
        "highest_weight": (weights, {other.id: 4}),
        "least_connections": (weights, {one.id: 1, other.id: 3}),
        "power_of_two": ({}, {one.id: 2, other.id: 2}),
        "fastest_response": ({}, {one.id: 4}),
        "lowest_lag": ({}, {other.id: 4}),
        "lowest_load": ({}, {one.id: 4}),
    }
    found = {}
    for strategy, (options, _) in expected.items():
        made = kept(4, strategy, reader_host_selector_strategy=strategy, topology_refresh_ms=60_000, **options)
        if strategy == "fastest_response":
            measured_by(made.all[0], cluster.readers)
        found[strategy] = dict(made.servers())
        made.close()  # or the next ones would take care not to crowd these
    assert found == {strategy: counts for strategy, (_, counts) in expected.items()}
    for strategy in ("random", "weighted_random"):
        made = kept(4, strategy, reader_host_selector_strategy=strategy, **weights)
        assert set(made.servers()) <= {one.id, other.id}


def measured_by(connection: Any, readers: tuple[Instance, ...]) -> None:
    """Have the readers measured, for which it takes a connection."""
    server_of(connection)
    times = connection.known_cluster().response_times
    deadline = time.monotonic() + 20
    while len(times.known) < len(readers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(times.known) == len(readers)
    connection.close()


def test_the_plugin_that_measures_does_so_ahead_of_who_chooses_by_it(
    cluster: LocalCluster, kept: Callable[..., Kept]
) -> None:
    slow, fast = cluster.readers
    slow.delay(0.05)
    plugins = "failover_v2,fastest_response_strategy"
    measured_by(kept(1, "m", plugins=plugins, reader_host_selector_strategy="random").all[0], cluster.readers)
    choosing = kept(4, plugins=plugins, reader_host_selector_strategy="fastest_response")
    assert choosing.servers() == {fast.id: 4}


def test_weights_are_each_aliass_own(cluster: LocalCluster, kept: Callable[..., Kept]) -> None:
    one, other = cluster.readers
    for alias, favourite in (("a", one), ("b", other), ("c", one)):
        made = kept(
            3,
            alias,
            reader_host_selector_strategy="highest_weight",
            weighted_random_host_weight_pairs={favourite.host: 2},
        )
        assert made.servers() == {favourite.id: 3}


def test_a_crowd_that_connects_at_once_is_spread_evenly(cluster: LocalCluster, aliases: Aliases) -> None:
    """All of them choose before any of them is connected, so what is on its way counts."""
    alias = aliases.add("r", read_only=True, reader_host_selector_strategy="least_connections")
    server_of(connections[alias])
    connections[alias].close()
    found: list[str] = []
    all_there, all_known = threading.Barrier(20, timeout=30), threading.Barrier(20, timeout=30)

    def work() -> None:
        all_there.wait()
        found.append(server_of(connections[alias]))
        all_known.wait()
        connections[alias].close()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(found) == {reader.id: 10 for reader in cluster.readers}


def test_a_reader_that_falls_behind_is_empty_within_one_refresh(
    cluster: LocalCluster, kept: Callable[..., Kept], table: str
) -> None:
    """Connections that are kept leave it as well, and come back when it has caught up."""
    one, other = cluster.readers
    made = kept(4, max_reader_lag_ms=400)
    assert made.servers() == {one.id: 2, other.id: 2}
    view = lambda: made.all[0].known_cluster().view  # noqa: E731
    one.delay_replication(5)
    stop = threading.Event()
    writing = threading.Thread(target=write_until, args=(cluster, stop))
    writing.start()
    try:
        deadline = time.monotonic() + 20
        while (behind := view().topology).at(address_of(made, one)).lag <= 0.4 and time.monotonic() < deadline:
            time.sleep(0.01)
        while view().topology.asked_at == behind.asked_at and time.monotonic() < deadline:
            time.sleep(0.01)  # one refresh more, for what was found out under this one is acted upon after it
        assert made.servers() == {other.id: 4}
    finally:
        stop.set()
        writing.join(20)
    one.delay_replication(0)
    assert made.wait_until(lambda found: len(set(found.values())) == 1 and len(found) == 2) == {one.id: 2, other.id: 2}


def write_until(cluster: LocalCluster, stop: threading.Event) -> None:
    key = 0
    while not stop.wait(0.05):
        cluster.writer.query(f"INSERT INTO app.t VALUES ({(key := key + 1)}, '')")


def address_of(made: Kept, instance: Instance) -> Any:
    topology = made.all[0].known_cluster().view.topology
    return next(i.address for i in topology.instances if i.id == instance.id)


def test_a_reader_that_fell_behind_before_anybody_looked_is_left(
    cluster: LocalCluster, aliases: Aliases, kept: Callable[..., Kept]
) -> None:
    server_of(connections[aliases.add("w", topology_refresh_ms=60_000)])
    monitor = connections["w"].known_cluster().topology_monitor
    one = kept(1, topology_refresh_ms=60_000, max_reader_lag_ms=1000).all[0]
    behind = next(reader for reader in cluster.readers if reader.id == server_of(one))
    behind.report(lag_ms=9000)
    monitor.wake()
    wait_for(lambda: server_of(one) != behind.id)


@pytest.mark.parametrize("mode", ["reader_or_writer", "strict_reader"])
def test_when_all_readers_are_behind(cluster: LocalCluster, kept: Callable[..., Kept], mode: str) -> None:
    one, other = cluster.readers
    one.report(lag_ms=9000)
    other.report(lag_ms=8000)
    made = kept(3, max_reader_lag_ms=1000, failover_mode=mode)
    last_resort = cluster.writer.id if mode == "reader_or_writer" else other.id
    assert made.wait_until(lambda found: set(found) == {last_resort}) == {last_resort: 3}
    one.report(lag_ms=10)
    assert made.wait_until(lambda found: set(found) == {one.id}) == {one.id: 3}


def test_readers_of_its_own_zone_come_first(cluster: LocalCluster, kept: Callable[..., Kept]) -> None:
    near, far = cluster.readers
    zones = {near.id: "eu-west-1a", far.id: "eu-west-1b"}
    made = kept(2, availability_zone="eu-west-1a", instance_zones=zones)
    assert made.servers() == {near.id: 2}
    near.refuse()
    near.reset()
    assert made.wait_until(lambda found: set(found) == {far.id}) == {far.id: 2}
    near.heal()
    assert made.wait_until(lambda found: set(found) == {near.id}) == {near.id: 2}


def test_zones_are_asked_of_rds_once(
    cluster: LocalCluster,
    kept: Callable[..., Kept],
    aws: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    near, far = cluster.readers
    told = {instance.id: f"{REGION}{'a' if instance == near else 'b'}" for instance in cluster.instances}
    rds = Zones(told)
    request.addfinalizer(rds.close)
    monkeypatch.setenv("AWS_ENDPOINT_URL", rds.url)
    rds.is_out = True
    made = kept(2, availability_zone=f"{REGION}a", region=REGION, aws_profile=aws(), topology_refresh_ms=50)
    assert set(made.servers()) <= {near.id, far.id}, "nobody waits for it"
    wait_for(lambda: rds.calls > 0)
    rds.is_out = False
    assert made.wait_until(lambda found: set(found) == {near.id}) == {near.id: 2}
    known, calls = made.all[0].known_cluster(), rds.calls
    asked_at = known.view.topology.asked_at
    wait_for(lambda: known.view.topology.asked_at > asked_at)
    assert {instance.id: instance.zone for instance in known.view.topology.instances} == told
    assert rds.calls == calls


def test_a_reader_that_is_killed_under_load_costs_no_read(cluster: LocalCluster, aliases: Aliases) -> None:
    alias = aliases.add("r", read_only=True, topology_refresh_ms=100)
    one, other = cluster.readers
    failures: list[Exception] = []
    served: list[Counter[str]] = [Counter() for _ in range(6)]
    stop = threading.Event()

    def work(mine: Counter[str]) -> None:
        connections[alias].unit_began = float("-inf")
        while not stop.is_set():
            try:
                mine[server_of(connections[alias])] += 1
            except OperationalError as exc:
                failures.append(exc)
        connections[alias].close()

    threads = [threading.Thread(target=work, args=(mine,)) for mine in served]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: all(sum(mine[reader.id] > 10 for mine in served) >= 3 for reader in (one, other)))
        one.kill()
        before = sum(mine[other.id] for mine in served)
        wait_for(lambda: sum(mine[other.id] for mine in served) > before + 300)
        one.revive()
        back = sum(mine[one.id] for mine in served)
        wait_for(lambda: sum(mine[one.id] for mine in served) > back + 100)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert failures == []


def wait_for(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
