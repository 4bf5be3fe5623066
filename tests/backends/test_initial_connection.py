"""`initial_connection` and the options of connecting, on real servers: where a new one goes, and for how long."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import OperationalError, connections

from django_aurora_routing import FailoverFailedError
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_placement import server_of, wait_until_on

pytestmark = pytest.mark.lab


def servers_of(alias: str, times: int) -> set[str]:
    found = set()
    for _ in range(times):
        connections[alias].close()
        found.add(server_of(alias))
    return found


def test_the_role_says_where_a_new_connection_goes(cluster: LocalCluster, aliases: Aliases) -> None:
    writer, readers = cluster.writer.id, {instance.id for instance in cluster.readers}
    for role, expected in (("writer", {writer}), ("reader", readers), ("any", readers | {writer})):
        strategy = "round_robin"
        alias = aliases.add(
            role,
            endpoint_substitution_role=role,
            initial_connection_host_selector_strategy=strategy,
            topology_refresh_ms=200,
        )
        wait_until_on(alias, readers if role == "reader" else readers | {writer})
        assert servers_of(alias, 40 if role == "any" else 4) == expected


def test_a_connection_on_a_reader_stays_there_and_fails_over_to_the_writer(
    cluster: LocalCluster, aliases: Aliases
) -> None:
    alias = aliases.add("r", endpoint_substitution_role="reader", topology_refresh_ms=200, CONN_HEALTH_CHECKS=True)
    there = wait_until_on(alias, {instance.id for instance in cluster.readers})
    connections[alias].known_cluster().reconsider()
    assert server_of(alias) == there, "right by the role, if not by failover_mode"
    connections[alias].health_check_done = False
    connections[alias].close_if_unusable_or_obsolete()
    assert server_of(alias) == there
    next(instance for instance in cluster.instances if instance.id == there).kill()
    assert server_of(alias) == cluster.writer.id


def test_without_a_substitution_host_itself_is_used(cluster: LocalCluster, aliases: Aliases) -> None:
    reader = cluster.readers[0]
    alias = aliases.add("h", host=reader.host, endpoint_substitution_role="none")
    assert server_of(alias) == reader.id
    assert connections[alias].instance.host == reader.host
    verified = aliases.add(
        "v",
        host=reader.host,
        endpoint_substitution_role="none",
        verify_opened_connection_type="writer",
        open_connection_retry_timeout_ms=300,
        open_connection_retry_interval_ms=50,
    )
    with pytest.raises(FailoverFailedError, match="it is a reader now"):
        server_of(verified)


def test_host_is_tried_again_until_it_leads_to_the_writer(cluster: LocalCluster, aliases: Aliases) -> None:
    alias = aliases.add(
        "v",
        endpoint_substitution_role="none",
        verify_opened_connection_type="writer",
        open_connection_retry_interval_ms=50,
    )
    server_of(alias)
    connections[alias].close()
    cluster.hold_endpoint()
    cluster.promote()
    heal = threading.Timer(0.5, cluster.heal)
    heal.start()
    try:
        assert server_of(alias) == cluster.writer.id
    finally:
        heal.join()


@pytest.mark.parametrize("goes_on", [True, False])
def test_whether_a_connect_that_fails_goes_on_elsewhere(cluster: LocalCluster, aliases: Aliases, goes_on: bool) -> None:
    alias = aliases.add(
        "r",
        read_only=True,
        reader_host_selector_strategy="round_robin",
        enable_connect_failover=goes_on,
        topology_refresh_ms=3_600_000,
    )
    wait_until_on(alias, {instance.id for instance in cluster.readers})
    connections[alias].close()
    for reader in cluster.readers:
        reader.kill()
    if goes_on:
        assert server_of(alias) == cluster.writer.id
    else:
        with pytest.raises(OperationalError) as refused:
            server_of(alias)
        assert type(refused.value) is OperationalError


def test_a_silent_reader_is_waited_for_as_long_as_readers_may_take(cluster: LocalCluster, aliases: Aliases) -> None:
    alias = aliases.add(
        "r",
        read_only=True,
        failover_reader_connect_timeout_sec=0.3,
        topology_refresh_ms=3_600_000,
        failure_detection_enabled=False,
        connect_timeout=60,
        failover_timeout_sec=120,
    )
    wait_until_on(alias, {instance.id for instance in cluster.readers})
    connections[alias].close()
    for reader in cluster.readers:
        reader.freeze()
    began = time.monotonic()
    assert server_of(alias) == cluster.writer.id
    assert time.monotonic() - began < 30
