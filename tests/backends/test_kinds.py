"""Other kinds of cluster than Aurora, on real servers: who is placed where, and where it goes from there."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings

from django_aurora_routing import TransactionResolutionUnknownError, release_resources
from django_aurora_routing.cluster.cluster import Cluster
from django_aurora_routing.core.staleness import is_caught_up, observed_lags
from django_aurora_routing.core.topology import Role
from django_aurora_routing.lab import Instance, LocalCluster

from .conftest import Aliases, questions_of_kind
from .test_failover import execute, insert

KINDS = ("multi-az", "replication", "group-replication")
SECONDS = 20

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def clusters() -> Iterator[Callable[[str], LocalCluster]]:
    """One cluster of each kind, started at its first use."""
    started: dict[str, LocalCluster] = {}
    with ExitStack() as stack:

        def cluster_of(kind: str) -> LocalCluster:
            if kind not in started:
                started[kind] = stack.enter_context(LocalCluster(readers=2, kind=kind))
            started[kind].heal()
            return started[kind]

        yield cluster_of


@pytest.fixture(params=KINDS)
def of_kind(request: pytest.FixtureRequest, clusters: Callable[[str], LocalCluster]) -> LocalCluster:
    return clusters(request.param)


@pytest.fixture
def replication(clusters: Callable[[str], LocalCluster]) -> LocalCluster:
    return clusters("replication")


@pytest.fixture
def aliases_of(django_db_blocker: Any) -> Iterator[Callable[[LocalCluster], Aliases]]:
    """Aliases on a cluster of some kind, as its users write them: with no pattern, and plain servers listed."""
    made: list[OfKind] = []

    def of(cluster: LocalCluster) -> Aliases:
        made.append(OfKind(cluster))
        return made[-1]

    with django_db_blocker.unblock(), override_settings(AURORA_ROUTING={"CLUSTERS": {}}):
        yield of
        for aliases in made:
            aliases.remove_all()
    release_resources()


class OfKind(Aliases):
    def add(self, alias: str, *, host: str | None = None, port: int | None = None, **conf: Any) -> str:
        known = {"cluster_instance_host_pattern": ..., "topology_refresh_ms": 200, "connect_timeout": 5}
        if self.cluster.kind == "replication":
            host = host or self.cluster.writer.host
            known["hosts"] = [instance.host for instance in self.cluster.instances]
        return super().add(alias, host=host, port=port, **{**known, **conf})


def known(alias: str) -> Cluster:
    connections[alias].ensure_connection()
    cluster: Cluster = connections[alias]._search.cluster
    return cluster


def server_of(alias: str) -> int:
    ((number,),) = execute(alias, "SELECT @@server_id")
    return int(number)


def number_of(instance: Instance) -> int:
    return int(instance.query("SELECT @@server_id")[0][0])


def hosts_by_role(cluster: Cluster, role: Role) -> set[str]:
    return {instance.address.host for instance in cluster.view.topology.instances if instance.role is role}


def wait_for(condition: Callable[[], bool], what: object = "") -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def make_table(cluster: LocalCluster) -> None:
    cluster.writer.query("DROP TABLE IF EXISTS app.t")
    cluster.writer.query("CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(50))")
    cluster.catch_up()


def test_each_alias_is_where_it_should_be(of_kind: LocalCluster, aliases_of: Callable[..., Aliases]) -> None:
    aliases = aliases_of(of_kind)
    # By way of a reader: it has to find the writer, of which a plain replica only tells whom it follows.
    host = of_kind.readers[0].host
    writer, reader = aliases.add("w", host=host), aliases.add("r", host=host, read_only=True)
    readers = {number_of(instance) for instance in of_kind.readers}
    assert server_of(writer) == number_of(of_kind.writer)
    wait_for(lambda: len(known(reader).view.live_readers) == len(of_kind.readers))
    seen = set()
    for _ in range(12):
        connections[reader].close()
        seen.add(server_of(reader))
    assert seen == readers
    cluster = known(writer)
    assert cluster.dialect is not None
    assert cluster.dialect.name == f"{of_kind.kind}-mysql"
    assert hosts_by_role(cluster, Role.WRITER) == {of_kind.writer.host}
    assert hosts_by_role(cluster, Role.READER) == {instance.host for instance in of_kind.readers}


def test_the_first_reader_alias_of_a_process_is_on_a_reader(
    of_kind: LocalCluster, aliases_of: Callable[..., Aliases]
) -> None:
    """Not on the writer for a moment, although HOST is that and the others are asked next."""
    reader = aliases_of(of_kind).add("r", host=of_kind.writer.host, read_only=True)
    assert server_of(reader) in {number_of(instance) for instance in of_kind.readers}


@pytest.mark.parametrize("way", ["killed", "planned"])
def test_the_writer_alias_follows_a_promotion(
    of_kind: LocalCluster, aliases_of: Callable[..., Aliases], way: str
) -> None:
    make_table(of_kind)
    aliases = aliases_of(of_kind)
    writer, reader = aliases.add("w"), aliases.add("r", read_only=True)
    insert(writer, 1)
    wait_for(lambda: len(known(reader).view.live_readers) == len(of_kind.readers))
    old = of_kind.writer
    if way == "killed":
        old.kill()
    of_kind.promote()
    insert(writer, 2)
    assert server_of(writer) == number_of(of_kind.writer)
    assert [key for (key,) in of_kind.writer.query("SELECT id FROM app.t ORDER BY id")] == [1, 2]
    left = {number_of(instance) for instance in of_kind.readers if instance.state == "running"}
    wait_for(lambda: server_of(reader) in left, known(reader))
    if way == "killed":
        old.revive()
    back = {instance.host for instance in of_kind.readers}
    wait_for(lambda: {i.address.host for i in known(reader).view.live_readers} == back, known(reader))


def test_a_frozen_writer_is_replaced(replication: LocalCluster, aliases_of: Callable[..., Aliases]) -> None:
    """It fails nobody by an error; who has been promoted meanwhile says so."""
    make_table(replication)
    limits = {
        f"failure_detection_{name}": value for name, value in (("time_ms", 300), ("interval_ms", 200), ("count", 2))
    }
    writer = aliases_of(replication).add("w", **limits)
    insert(writer, 1)
    replication.writer.freeze()
    replication.promote()
    with pytest.raises(TransactionResolutionUnknownError):
        insert(writer, 2)
    insert(writer, 3)
    assert (3,) in replication.writer.query("SELECT id FROM app.t")


def test_a_reader_that_is_added_is_found(clusters: Callable[[str], LocalCluster], aliases_of: Any) -> None:
    cluster = clusters("multi-az")
    writer = aliases_of(cluster).add("w")
    before = known(writer).generation
    added = cluster.add_reader()
    wait_for(lambda: added.host in hosts_by_role(known(writer), Role.READER))
    assert known(writer).generation > before


def test_a_listed_server_that_comes_up_later_is_found(aliases_of: Callable[..., Aliases]) -> None:
    with LocalCluster(readers=0, kind="replication") as cluster:
        writer = aliases_of(cluster).add("w", hosts=[cluster.writer.host, "127.0.0.12"])
        assert hosts_by_role(known(writer), Role.READER) == set()
        added = cluster.add_reader()
        wait_for(lambda: added.host in hosts_by_role(known(writer), Role.READER))


@pytest.mark.parametrize("kind", ["multi-az", "replication"])
def test_lag_is_seen(clusters: Callable[[str], LocalCluster], aliases_of: Callable[..., Aliases], kind: str) -> None:
    cluster = clusters(kind)
    make_table(cluster)
    writer = aliases_of(cluster).add("w")
    late, other = cluster.readers[:2]
    late.delay_replication(4)
    insert(writer, 1)

    def lag_of(instance: Instance) -> float:
        topology = known(writer).view.topology
        return next((i.lag for i in topology.instances if i.address.host == instance.host), math.nan)

    wait_for(lambda: 1 <= lag_of(late) <= 5, known(writer))
    assert lag_of(other) <= 1
    late.query("STOP SLAVE")
    wait_for(lambda: lag_of(late) == math.inf, known(writer))
    assert hosts_by_role(known(writer), Role.READER) >= {late.host}


def test_a_replica_is_proved_to_have_what_was_written(
    replication: LocalCluster, aliases_of: Callable[..., Aliases]
) -> None:
    """By its position; the seconds that it says to be behind would prove nothing."""
    make_table(replication)
    late = replication.readers[0]
    writer = aliases_of(replication).add("w", topology_refresh_ms=3_600_000)
    cluster = known(writer)
    late.delay_replication(1)
    insert(writer, 1)
    committed_at = time.monotonic()
    count = "SELECT COUNT(*) FROM app.t"

    def is_proved() -> bool:
        """What waits for it asks for newer lags again and again."""
        cluster.request_newer()
        proved = is_caught_up(committed_at, observed_lags(cluster.view, cluster.view.live_readers))
        assert not proved or all(instance.query(count) == [(1,)] for instance in replication.readers)
        return proved

    assert not is_proved()
    wait_for(is_proved, cluster)


def test_clusters_of_two_kinds_in_one_process(
    clusters: Callable[[str], LocalCluster], aliases_of: Callable[..., Aliases]
) -> None:
    plain, group = clusters("replication"), clusters("group-replication")
    make_table(plain)
    make_table(group)
    first, second = aliases_of(plain).add("w1"), aliases_of(group).add("w2")
    insert(first, 1)
    insert(second, 2)
    plain.writer.kill()
    plain.promote()
    insert(first, 3)
    insert(second, 4)
    assert [plain.writer.query("SELECT id FROM app.t"), group.writer.query("SELECT id FROM app.t")] == [
        [(1,), (3,)],
        [(2,), (4,)],
    ]


def test_a_kind_is_asked_for_once(of_kind: LocalCluster, aliases_of: Callable[..., Aliases]) -> None:
    aliases = aliases_of(of_kind)
    writer, reader = aliases.add("w"), aliases.add("r", read_only=True)
    with questions_of_kind(of_kind) as asked:
        server_of(writer)
        assert asked() == 1
        for alias in (writer, reader):
            connections[alias].close()
            server_of(alias)
        assert asked() == 1


# -- a plain primary with replicas


def test_at_rest_there_is_one_thread_and_one_connection(
    replication: LocalCluster, aliases_of: Callable[..., Aliases]
) -> None:
    writer = aliases_of(replication).add("w", topology_refresh_ms=3_600_000)
    server_of(writer)
    count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s"

    def sessions() -> int:
        return sum(int(i.query(count, [replication.user])[0][0]) for i in replication.instances)

    def threads() -> list[str]:
        """But for the host monitor's, which watches over statements and ends when there has been none for a while."""
        names = [thread.name for thread in threading.enumerate()]
        return [name for name in names if name.startswith(("aurora-topology", "aurora-probe", "aurora-meeting"))]

    # The alias's own connection, and the monitor's.
    wait_for(lambda: sessions() == 2 and len(threads()) == 1, threads)


def test_a_server_that_is_silent_keeps_nobody_waiting(
    replication: LocalCluster, aliases_of: Callable[..., Aliases]
) -> None:
    silent, other = replication.readers[:2]
    silent.freeze()
    reader = aliases_of(replication).add("r", read_only=True, connect_timeout=30)
    began = time.monotonic()
    assert server_of(reader) == number_of(other)
    assert time.monotonic() - began < 5
    replication.promote(other)
    wait_for(lambda: hosts_by_role(known(reader), Role.WRITER) == {other.host})


def test_two_that_take_writes_are_not_two_writers(
    replication: LocalCluster, aliases_of: Callable[..., Aliases], caplog: pytest.LogCaptureFixture
) -> None:
    aliases = aliases_of(replication)
    writer, reader = aliases.add("w"), aliases.add("r", read_only=True)
    right = server_of(writer)
    wait_for(lambda: len(known(writer).view.live_readers) == 2)
    rival, other = replication.readers[:2]
    with caplog.at_level(logging.WARNING):
        for sql in ("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0"):
            rival.query(sql)
        wait_for(lambda: hosts_by_role(known(writer), Role.READER) == {other.host})
        wait_for(lambda: any("takes writes" in record.getMessage() for record in caplog.records))
    warned = [record for record in caplog.records if "takes writes" in record.getMessage()]
    assert len(warned) == 1
    assert rival.host in warned[0].getMessage()
    for _ in range(3):
        connections[writer].close()
        assert server_of(writer) == right
        connections[reader].close()
        assert server_of(reader) == number_of(other)
    # A failure that somebody meets on the writer makes no other one of the rival, as long as the writer answers.
    replication.writer.reset()
    assert server_of(writer) == right
    rival.kill()
    rival.revive()
    wait_for(lambda: hosts_by_role(known(writer), Role.READER) == {rival.host, other.host})


def test_a_rival_takes_over_from_a_writer_that_is_gone(
    replication: LocalCluster, aliases_of: Callable[..., Aliases]
) -> None:
    """It has been promoted while the old writer was still there, as somebody does in a hurry."""
    writer = aliases_of(replication).add("w")
    server_of(writer)
    old, rival = replication.writer, replication.readers[0]
    for sql in ("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0"):
        rival.query(sql)
    wait_for(lambda: bool(known(writer).view.topology.rivals))
    number = number_of(rival)
    old.kill()
    try:
        assert server_of(writer) == number
        assert hosts_by_role(known(writer), Role.WRITER) == {rival.host}
    finally:
        rival.kill()
        old.revive()
        rival.revive()


def test_a_replica_that_takes_writes_is_not_read_from(
    replication: LocalCluster, aliases_of: Callable[..., Aliases], caplog: pytest.LogCaptureFixture
) -> None:
    open_one, other = replication.readers[:2]
    open_one.query("SET GLOBAL read_only = 0")
    try:
        with caplog.at_level(logging.WARNING):
            reader = aliases_of(replication).add("r", read_only=True)
            assert server_of(reader) == number_of(other)
            assert hosts_by_role(known(reader), Role.READER) == {other.host}
        assert "is a replica that takes writes" in caplog.text
    finally:
        open_one.query("SET GLOBAL read_only = 1")
    wait_for(lambda: hosts_by_role(known(reader), Role.READER) == {open_one.host, other.host})


def test_a_host_that_leads_to_whoever_writes_is_no_server_of_its_own(
    replication: LocalCluster, aliases_of: Callable[..., Aliases]
) -> None:
    """As a proxy's address does, or a virtual one."""
    writer = aliases_of(replication).add("w", host=replication.writer_endpoint.host)
    server_of(writer)
    wait_for(lambda: len(known(writer).view.live_readers) == 2)
    replication.promote()
    wait_for(lambda: hosts_by_role(known(writer), Role.WRITER) == {replication.writer.host})
    wait_for(lambda: len(known(writer).view.live_readers) == 2)
    everyone = {instance.host for instance in replication.instances}
    assert hosts_by_role(known(writer), Role.READER) | {replication.writer.host} == everyone


def test_a_connection_by_such_a_host_stays_where_it_is_right(
    replication: LocalCluster, aliases_of: Callable[..., Aliases]
) -> None:
    """A server of its own it is by what it calls itself; its id is its address, which HOST is not."""
    alias = aliases_of(replication).add(
        "w", host=replication.writer_endpoint.host, endpoint_substitution_role="none", topology_refresh_ms=3_600_000
    )
    cluster = known(alias)
    connections[alias].close()
    wait_for(lambda: hosts_by_role(cluster, Role.WRITER) == {replication.writer.host}, cluster)
    before = execute(alias, "SELECT CONNECTION_ID()")
    assert connections[alias].instance.host == replication.writer.host
    cluster.reconsider()
    assert execute(alias, "SELECT CONNECTION_ID()") == before


@pytest.mark.parametrize("kind", ["multi-az", "replication"])
def test_an_account_that_may_not_ask_is_told_what_it_needs(
    clusters: Callable[[str], LocalCluster], aliases_of: Callable[..., Aliases], kind: str
) -> None:
    cluster = clusters(kind)
    cluster.writer.query("CREATE OR REPLACE USER plain@'%' IDENTIFIED BY 'plain'")
    cluster.writer.query("GRANT ALL ON app.* TO plain@'%'")
    cluster.catch_up()
    aliases = aliases_of(cluster)
    host = cluster.readers[0].host
    alias = aliases.add("w", host=host, USER="plain", PASSWORD="plain", cluster_id=f"{cluster.name}-plain")
    with pytest.raises(ImproperlyConfigured, match="SLAVE MONITOR"):
        connections[alias].ensure_connection()
    own = {"topology-monitoring-user": cluster.user, "topology-monitoring-password": cluster.password}
    helped = aliases.add("h", host=host, USER="plain", PASSWORD="plain", **own)
    assert server_of(helped) == number_of(cluster.writer)


# -- a group


def test_a_primary_that_is_cut_off_from_its_group_is_no_writer(
    clusters: Callable[[str], LocalCluster], aliases_of: Callable[..., Aliases]
) -> None:
    group = clusters("group-replication")
    make_table(group)
    writer = aliases_of(group).add("w")
    insert(writer, 1)
    cluster, old = known(writer), group.writer
    old.report(is_cut_off=True)
    new = group.promote()
    insert(writer, 2)
    assert cluster.view.topology.writer is not None
    assert cluster.view.topology.writer.address.host == group.instance(new.new).host
    assert old.host not in {i.address.host for i in cluster.view.live_readers}
    group.heal()
    wait_for(lambda: old.host in hosts_by_role(cluster, Role.READER))


@pytest.mark.parametrize("state", ["RECOVERING", "OFFLINE", "ERROR", "UNREACHABLE"])
def test_a_member_that_is_not_online_is_not_read_from(
    clusters: Callable[[str], LocalCluster], aliases_of: Callable[..., Aliases], state: str
) -> None:
    group = clusters("group-replication")
    out, other = group.readers[:2]
    out.report(state=state)
    reader = aliases_of(group).add("r", read_only=True)
    assert hosts_by_role(known(reader), Role.READER) == {other.host}
    group.heal()
    wait_for(lambda: out.host in hosts_by_role(known(reader), Role.READER))
