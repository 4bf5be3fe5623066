"""Two clusters in one process, and one cluster by several names: never mixed, and one where that is certain."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from django_aurora_routing.cluster import registry
from django_aurora_routing.cluster.cluster import Cluster
from django_aurora_routing.lab import LocalCluster, LocalServer

from .conftest import Aliases
from .test_failover import insert, rows, within
from .test_placement import server_of


@pytest.fixture(autouse=True)
def _no_other_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_clusters", {})


@pytest.fixture(scope="module")
def other_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(readers=1) as other:
        yield other


@pytest.fixture
def other(other_cluster: LocalCluster) -> LocalCluster:
    """A second cluster, whose instances have the ids of the first one's, at another port."""
    other_cluster.heal()
    other_cluster.writer.query("DROP TABLE IF EXISTS app.t")
    other_cluster.writer.query("CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(50))")
    return other_cluster


def add(aliases: Aliases, alias: str, cluster: LocalCluster, host: str | None = None, **options: object) -> str:
    """An alias that gives its cluster no id, unless told otherwise."""
    where = cluster.writer_endpoint
    given = {"cluster_id": ..., "cluster_instance_host_pattern": cluster.host_pattern, **options}
    return aliases.add(alias, host=host or where.host, port=where.port, **given)


def cluster_behind(alias: str) -> Cluster:
    search = connections[alias]._search
    assert search is not None
    return search.cluster


def topology_monitors() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("aurora-topology")]


def test_two_clusters_fail_over_at_the_same_time(
    cluster: LocalCluster, other: LocalCluster, aliases: Aliases, table: str
) -> None:
    """With no setting that tells them apart; each alias's rows are in its own cluster."""
    alias = {both: add(aliases, name, both) for name, both in (("one", cluster), ("two", other))}
    for number, both in enumerate(alias, start=1):
        insert(alias[both], number)
    assert cluster_behind("one") is not cluster_behind("two")
    for both in alias:
        both.writer.kill()
    promotions = [threading.Thread(target=both.promote) for both in alias]
    for promotion in promotions:
        promotion.start()
    for number, both in enumerate(alias, start=11):
        insert(alias[both], number)
    for promotion in promotions:
        promotion.join()
    assert (rows(cluster), rows(other)) == ([1, 11], [2, 12])
    for both, name in alias.items():
        known = {str(instance.address) for instance in cluster_behind(name).view.topology.instances}
        assert known <= {f"{instance.host}:{instance.port}" for instance in both.instances}


def test_one_id_for_two_clusters_is_refused(
    cluster: LocalCluster, other: LocalCluster, aliases: Aliases, table: str
) -> None:
    one = add(aliases, "one", cluster, cluster_id="shop")
    two = add(aliases, "two", other, cluster_id="shop")
    insert(one, 1)
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured) as refused:
            connections[two].ensure_connection()
        for words in ("DATABASES['two']", "cluster_id", "'shop'", *(str(c.port) for c in (cluster, other))):
            assert words in str(refused.value)
    connections[one].close()
    insert(one, 2)
    assert (rows(cluster), rows(other)) == ([1, 2], [])
    assert within(10, wait_for_one_monitor) is None


def test_one_id_for_two_servers_of_their_own(
    server: LocalServer, cluster: LocalCluster, other: LocalCluster, aliases: Aliases
) -> None:
    """There is nothing to share: each alias talks to its own HOST."""
    options = {"cluster_id": "shop", "cluster_instance_host_pattern": ...}
    alone = aliases.add("alone", host=server.host, port=server.port, **options)
    add(aliases, "one", cluster, **{**options, "cluster_instance_host_pattern": cluster.host_pattern})
    for alias, its_server in ((alone, server.server), ("one", cluster.writer)):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT @@port")
            assert [cursor.fetchone()] == its_server.query("SELECT @@port")


@pytest.mark.parametrize("cluster_id", [..., "shop"], ids=["without an id", "with an id"])
def test_one_cluster_by_several_names_is_one(cluster: LocalCluster, aliases: Aliases, cluster_id: object) -> None:
    endpoint = cluster.writer_endpoint.host
    names = [endpoint, cluster.reader_endpoint.host, cluster.readers[0].host, endpoint.replace("127.0.0.", "127.")]
    aliases_of_it = [
        add(aliases, f"by_{number}", cluster, host, cluster_id=cluster_id, topology_refresh_ms=3_600_000)
        for number, host in enumerate(names)
    ]
    assert {server_of(alias) for alias in aliases_of_it} == {cluster.writer.id}
    assert len({id(cluster_behind(alias)) for alias in aliases_of_it}) == 1
    assert within(10, wait_for_one_monitor) is None


def wait_for_one_monitor() -> None:
    while len(topology_monitors()) > 1:
        threading.Event().wait(0.01)


def test_what_monitors_are_asked_for_differs_so_there_are_two(cluster: LocalCluster, aliases: Aliases) -> None:
    one = add(aliases, "one", cluster)
    two = add(aliases, "two", cluster, cluster.reader_endpoint.host, topology_refresh_ms=1000)
    assert server_of(one) == server_of(two)
    assert cluster_behind(one) is not cluster_behind(two)
    assert cluster_behind(two).settings.refresh == 1


def test_the_name_of_an_instance_that_is_down_is_known_by_the_id(cluster: LocalCluster, aliases: Aliases) -> None:
    out = cluster.readers[0]
    assert server_of(add(aliases, "one", cluster, cluster_id="shop")) == cluster.writer.id
    out.kill()
    assert server_of(add(aliases, "two", cluster, out.host, cluster_id="shop")) == cluster.writer.id
