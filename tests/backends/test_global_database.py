"""A global database on real servers: home and other regions, who is out of reach, forwarded writes, switchovers.

Instances 11 and 13 are in the home region, eu-west-1; 12 and 14 are in us-east-1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_aurora_routing import FailoverError, FailoverFailedError, FailoverSuccessError, release_resources
from django_aurora_routing.core.failover import View
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.lab.kinds.global_database import region_of

from .conftest import Aliases, questions_of_kind
from .test_placement import server_of, wait_until_on

pytestmark = pytest.mark.lab

HOME, AWAY = "eu-west-1", "us-east-1"


@pytest.fixture(scope="module")
def lab_global() -> Iterator[LocalCluster]:
    with LocalCluster(readers=3, kind="global") as cluster:
        cluster.writer.query("CREATE TABLE app.t (id INT PRIMARY KEY)")
        yield cluster


@pytest.fixture
def world(lab_global: LocalCluster) -> LocalCluster:
    """The global database as it began: the writer is 11, at home."""
    lab_global.heal()
    if lab_global.writer.id != "11":
        lab_global.promote("11")
    lab_global.writer.query("TRUNCATE app.t")
    return lab_global


class GlobalAliases(Aliases):
    def add(self, alias: str, **conf: Any) -> str:  # type: ignore[override]
        patterns = self.cluster.regional_host_patterns
        usual = {"global_cluster_instance_host_patterns": patterns, "cluster_instance_host_pattern": ...}
        for plugin, option in (("gdb_failover", "failover_home_region"), ("gdb_rw", "gdb_rw_home_region")):
            if plugin in str(conf.get("plugins")):
                usual[option] = HOME
        return super().add(alias, **{**usual, "failover_timeout_sec": 15, "topology_refresh_ms": 300, **conf})


@pytest.fixture
def everywhere(world: LocalCluster, django_db_blocker: Any) -> Iterator[GlobalAliases]:
    with django_db_blocker.unblock(), override_settings(AURORA_ROUTING={"CLUSTERS": {}}):
        made = GlobalAliases(world)
        yield made
        made.remove_all()
    release_resources()


def view_of(alias: str) -> View:
    search = connections[alias]._search
    return search.cluster.view  # type: ignore[no-any-return]


def write(alias: str, key: int) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (%s)", [key])


def write_until_done(alias: str, key: int) -> None:
    """As an application does that repeats what has certainly not happened."""
    while True:
        try:
            return write(alias, key)
        except FailoverSuccessError:
            continue


def test_a_global_database_is_recognised_and_its_instances_are_in_their_regions(everywhere: GlobalAliases) -> None:
    alias = everywhere.add("w")
    assert server_of(alias) == "11"
    search = connections[alias]._search
    assert search.cluster.dialect.name == "global-aurora-mysql"
    assert {i.id: i.region for i in view_of(alias).topology.instances} == {
        n: region_of(n) for n in "11 12 13 14".split()
    }


def test_the_kind_is_asked_for_once(world: LocalCluster, everywhere: GlobalAliases) -> None:
    writer, reader = everywhere.add("w"), everywhere.add("r", read_only=True)
    with questions_of_kind(world) as asked:
        for alias in (writer, reader, writer, reader):
            connections[alias].close()
            server_of(alias)
            assert asked() == 1


@pytest.mark.parametrize(
    ("mode", "at_home", "abroad"),
    [
        ("strict-writer", {"11"}, {"12"}),
        ("strict-home-reader", {"13"}, {"11", "13"}),
        ("strict-out-of-home-reader", {"12", "14"}, {"14"}),
        ("strict-any-reader", {"12", "13", "14"}, {"11", "13", "14"}),
        ("home-reader-or-writer", {"13"}, {"11", "13"}),
        ("out-of-home-reader-or-writer", {"12", "14"}, {"14"}),
        ("any-reader-or-writer", {"12", "13", "14"}, {"11", "13", "14"}),
    ],
)
def test_a_mode_at_home_and_abroad(
    world: LocalCluster, everywhere: GlobalAliases, mode: str, at_home: set[str], abroad: set[str]
) -> None:
    """Each mode, once for both cases: the switchover to the other region goes on under the alias."""
    alias = everywhere.add(
        "a", plugins="gdb_failover", active_home_failover_mode=mode, inactive_home_failover_mode=mode
    )
    assert server_of(alias) in at_home
    world.promote("12")
    # Some are in the same place before and after; only then is it the mode abroad that counts.
    assert not wait_for(lambda: view_of(alias).topology.primary_region == AWAY)
    assert wait_until_on(alias, abroad) in abroad


def test_the_modes_take_turns_as_the_primary_region_moves(world: LocalCluster, everywhere: GlobalAliases) -> None:
    alias = everywhere.add(
        "w",
        plugins="gdb_failover",
        active_home_failover_mode="strict-writer",
        inactive_home_failover_mode="home-reader-or-writer",
    )
    assert server_of(alias) == "11"
    generation = connections[alias]._search.cluster.generation
    world.promote("12")
    assert not wait_for(lambda: connections[alias]._search.cluster.generation > generation)
    assert server_of(alias) in {"11", "13"}
    assert view_of(alias).topology.primary_region == AWAY
    world.promote("13")
    assert wait_until_on(alias, {"13"}) == "13"
    write_until_done(alias, 1)


def test_the_last_reader_at_home_dies_and_the_writer_stands_in(world: LocalCluster, everywhere: GlobalAliases) -> None:
    strict = everywhere.add(
        "s", plugins="gdb_failover", active_home_failover_mode="strict-home-reader", failover_timeout_sec=1
    )
    alias = everywhere.add("r", plugins="gdb_failover", active_home_failover_mode="home-reader-or-writer")
    assert server_of(alias) == server_of(strict) == "13"
    world.instance("13").kill()
    assert server_of(alias) == "11"
    with pytest.raises(FailoverFailedError, match="no reader in the home region could be reached"):
        server_of(strict)


def test_a_writer_is_followed_to_another_region(world: LocalCluster, everywhere: GlobalAliases) -> None:
    alias = everywhere.add("w")
    write(alias, 1)
    world.promote("14")
    write_until_done(alias, 2)
    assert server_of(alias) == "14"
    assert view_of(alias).topology.primary_region == AWAY


def test_endpoints_of_two_regions_lead_to_one_picture(world: LocalCluster, everywhere: GlobalAliases) -> None:
    home = everywhere.add("h", host=world.instance("11").host, cluster_id=...)
    away = everywhere.add("a", host=world.instance("12").host, cluster_id=..., read_only=True)
    assert server_of(home) == "11"
    assert server_of(away) in {"12", "13", "14"}
    assert connections[home].known_cluster() is connections[away].known_cluster()


# -- regions that are out of reach


def connected_to(world: LocalCluster, instance_id: str) -> int:
    rows = world.instance(instance_id).query(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s", [world.user]
    )
    return int(rows[0][0])


def test_who_is_out_of_reach_is_never_connected_to(world: LocalCluster, everywhere: GlobalAliases) -> None:
    """The other region swallows all attempts; nobody makes one, so nobody waits."""
    for instance_id in ("12", "14"):
        world.instance(instance_id).black_hole()
    alias = everywhere.add("w", gdb_accessible_regions=HOME, hosts=[])
    reader = everywhere.add("r", gdb_accessible_regions=HOME, read_only=True)
    assert (server_of(alias), server_of(reader)) == ("11", "13")
    world.instance("13").kill()
    assert server_of(reader) == "11"
    assert {i.id for i in view_of(alias).topology.instances} >= {"11", "12", "14"}
    assert not view_of(alias).set_aside & {i.address for i in view_of(alias).topology.instances if i.region == AWAY}


def test_a_writer_that_goes_out_of_reach_is_told_at_once(world: LocalCluster, everywhere: GlobalAliases) -> None:
    alias = everywhere.add("w", gdb_accessible_regions=HOME, failover_timeout_sec=300, HOST=world.instance("13").host)
    write(alias, 1)
    world.promote("12")
    for key in (2, 3):  # on the connection that it had, and on none
        with pytest.raises(FailoverFailedError) as refused:
            write(alias, key)
        assert "the writer, 12, is in the region us-east-1" in str(refused.value)
        assert "gdb_accessible_regions" in str(refused.value)
    assert connected_to(world, "12") == connected_to(world, "14") == 0
    world.promote("13")
    assert not wait_for(lambda: view_of(alias).topology.primary_region == HOME)
    write(alias, 4)
    assert server_of(alias) == "13"


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether the time was over before it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


def test_a_region_without_a_pattern_is_named(world: LocalCluster, everywhere: GlobalAliases) -> None:
    only_home = world.regional_host_patterns.split(",")[0]
    alias = everywhere.add("w", global_cluster_instance_host_patterns=only_home)
    with pytest.raises(ImproperlyConfigured, match=r"instances in us-east-1.*global_cluster_instance_host_patterns"):
        connections[alias].ensure_connection()
    kept = everywhere.add(
        "k", global_cluster_instance_host_patterns=only_home, gdb_accessible_regions=HOME, cluster_id="only-home"
    )
    assert server_of(kept) == "11"


# -- reads and writes that stay at home


def test_writer_and_readers_stay_at_home(world: LocalCluster, everywhere: GlobalAliases) -> None:
    writer = everywhere.add("w", plugins="gdb_rw,failover_v2")
    reader = everywhere.add("r", plugins="gdb_rw,failover_v2", read_only=True, failover_timeout_sec=1)
    assert (server_of(writer), server_of(reader)) == ("11", "13")
    world.instance("13").kill()
    with pytest.raises(FailoverFailedError):  # in the home region there is the writer, and it was not asked to stand in
        server_of(reader)
    world.instance("13").revive()
    world.promote("14")
    assert wait_until_on(reader, {"11", "13"}) in {"11", "13"}
    assert not wait_for(lambda: view_of(reader).topology.primary_region == AWAY)
    with pytest.raises(FailoverFailedError, match="gdb_rw_restrict_writer_to_home_region"):
        server_of(writer)


def test_without_restrictions_they_go_anywhere(world: LocalCluster, everywhere: GlobalAliases) -> None:
    loose = {"gdb_rw_restrict_writer_to_home_region": False, "gdb_rw_restrict_reader_to_home_region": False}
    writer = everywhere.add("w", plugins="gdb_rw,failover_v2", **loose)
    reader = everywhere.add("r", plugins="gdb_rw,failover_v2", read_only=True, **loose)
    assert server_of(writer) == "11"
    world.instance("13").kill()
    assert server_of(reader) in {"12", "14"}
    world.promote("12")
    write_until_done(writer, 1)
    assert server_of(writer) == "12"


def test_writes_are_forwarded_from_home_while_the_writer_is_abroad(
    world: LocalCluster, everywhere: GlobalAliases
) -> None:
    """As far as a server that forwards nothing can show it: where the session is, and what it has been told."""
    alias = everywhere.add("w", plugins="gdb_rw,failover_v2", gdb_enable_global_write_forwarding=True)
    connection = connections[alias]
    assert server_of(alias) == "11"
    assert session(alias) == ("", "REPEATABLE-READ")
    assert has_savepoints(alias)
    world.promote("12")
    assert not wait_for(lambda: session(alias) == ("SESSION", "REPEATABLE-READ"))
    assert server_of(alias) in {"11", "13"}
    with pytest.raises(OperationalError) as refused:
        write(alias, 1)  # its server would send it on; ours says no, and that is no failover
    assert refused.value.args[0] == 1290
    assert not isinstance(refused.value, FailoverError)
    assert connection.is_usable()
    assert not has_savepoints(alias)
    world.promote("13")
    assert wait_until_on(alias, {"13"}) == "13"
    write_until_done(alias, 1)
    assert not wait_for(lambda: session(alias) == ("", "REPEATABLE-READ"))
    assert has_savepoints(alias)


def has_savepoints(alias: str) -> bool:
    """Whether an inner block is told to the server."""
    connection = connections[alias]
    with CaptureQueriesContext(connection) as queries, transaction.atomic(using=alias), transaction.atomic(using=alias):
        server_of(alias)
    return any("SAVEPOINT" in query["sql"] for query in queries)


def session(alias: str) -> tuple[str, str]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT @@aurora_replica_read_consistency, @@tx_isolation")
        return cursor.fetchone()  # type: ignore[no-any-return]
