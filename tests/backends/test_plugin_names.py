"""What `aurora_connection_tracker` and `stale_dns` promise, by each name alone: nobody stays on the old writer."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connections, transaction

from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import insert, rows
from .test_placement import server_of, wait_until_on

pytestmark = pytest.mark.lab

ALONE = ["aurora_connection_tracker", "stale_dns", "initial_connection"]


@pytest.mark.parametrize("plugin", ALONE)
def test_connections_to_the_old_writer_are_left_at_their_next_safe_point(
    cluster: LocalCluster, aliases: Aliases, table: str, plugin: str
) -> None:
    alias, other = (aliases.add(name, plugins=plugin, topology_refresh_ms=200) for name in ("w", "other"))
    former = server_of(alias)
    with transaction.atomic(using=other):
        assert server_of(other) == former
        cluster.promote()
        assert wait_until_on(alias, {cluster.writer.id}) == cluster.writer.id
        assert server_of(other) == former, "inside of a transaction is no safe point"
    assert server_of(other) == cluster.writer.id
    insert(alias, 1)
    insert(other, 2)
    assert rows(cluster) == [1, 2]


@pytest.mark.parametrize("plugin", ALONE)
def test_a_stale_name_never_leads_to_the_old_writer(
    cluster: LocalCluster, aliases: Aliases, table: str, plugin: str
) -> None:
    known = aliases.add("known", plugins=plugin, topology_refresh_ms=3_600_000)
    server_of(known)
    connections[known].close()
    cluster.hold_endpoint()
    cluster.promote()
    fresh = aliases.add("fresh", plugins=plugin, cluster_id=f"stale-{plugin}")
    for number, alias in enumerate((known, fresh)):
        assert server_of(alias) == cluster.writer.id, "HOST leads to the old writer still"
        insert(alias, number)
    assert rows(cluster) == [0, 1]


@pytest.mark.parametrize("plugin", ALONE)
def test_a_loss_is_the_drivers_own_error_without_failover(cluster: LocalCluster, aliases: Aliases, plugin: str) -> None:
    alias = aliases.add("w", plugins=plugin)
    server_of(alias)
    cluster.writer.reset()
    with pytest.raises(OperationalError) as lost:
        server_of(alias)
    assert type(lost.value) is OperationalError
