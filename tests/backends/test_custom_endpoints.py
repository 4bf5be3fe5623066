"""Custom endpoints on real servers: an alias is on the members of its endpoint, whatever becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from django_aurora_routing import FailoverFailedError, release_resources
from django_aurora_routing.lab import LocalCluster

from .aws_services import RdsApi
from .conftest import Aliases
from .test_placement import server_of, wait_until_on

pytestmark = pytest.mark.lab

HOST = "reports.cluster-custom-abc123.eu-west-1.rds.amazonaws.com"
Add = Callable[..., str]


@pytest.fixture
def add(rds_api: RdsApi, aws: Callable[..., str], aliases: Aliases) -> Add:
    """Adds an alias that goes by the endpoint."""

    def added(alias: str = "reports", **conf: Any) -> str:
        defaults = {
            "plugins": "failover_v2,custom_endpoint",
            "custom_endpoint_host": HOST,
            "custom_endpoint_info_refresh_rate_ms": 100,
            "topology_refresh_ms": 200,
            "aws_profile": aws(),
        }
        return aliases.add(alias, **{**defaults, **conf})

    return added


def servers_of(alias: str, times: int = 6) -> set[str]:
    found = set()
    for _ in range(times):
        connections[alias].close()
        found.add(server_of(alias))
    return found


@pytest.mark.parametrize("kind", ["ANY", "READER"])
def test_connections_are_on_members(cluster: LocalCluster, add: Add, rds_api: RdsApi, kind: str) -> None:
    member, other = (instance.id for instance in cluster.readers)
    rds_api.put(HOST, kind=kind, static=[member, cluster.writer.id])
    alias = add()
    assert wait_until_on(alias, {member}) == member
    assert servers_of(alias) == {member}
    rds_api.put(HOST, kind=kind, excluded=[member])
    wait_until_on(alias, {other})
    assert servers_of(alias) == {other}


def test_a_kept_connection_leaves_an_instance_that_left_at_its_next_safe_point(
    cluster: LocalCluster, add: Add, rds_api: RdsApi
) -> None:
    first, second = (instance.id for instance in cluster.readers)
    rds_api.put(HOST, static=[first])
    alias = add()
    wait_until_on(alias, {first})
    with transaction.atomic(using=alias):
        rds_api.put(HOST, static=[second])
        wait_for_calls(rds_api, 2)
        assert server_of(alias) == first
    assert wait_until_on(alias, {second}) == second


def wait_for_calls(rds_api: RdsApi, more: int) -> None:
    wanted, deadline = len(rds_api.calls) + more, time.monotonic() + 15
    while len(rds_api.calls) < wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(rds_api.calls) >= wanted


def test_the_writer_stands_in_only_if_it_is_a_member(cluster: LocalCluster, add: Add, rds_api: RdsApi) -> None:
    rds_api.put(HOST, static=[cluster.writer.id])
    assert server_of(add("writer")) == cluster.writer.id
    rds_api.put(HOST, static=[cluster.readers[0].id])
    strict = add("strict", failover_mode="strict_writer")
    with pytest.raises(FailoverFailedError, match=f"the writer, {cluster.writer.id}, is no member"):
        server_of(strict)


def test_a_failover_goes_to_members_alone(cluster: LocalCluster, add: Add, rds_api: RdsApi) -> None:
    first, second = cluster.readers
    rds_api.put(HOST, kind="READER", static=[first.id, second.id])
    alias = add()
    there = wait_until_on(alias, {first.id, second.id})
    lost = first if there == first.id else second
    lost.kill()
    assert server_of(alias) in {first.id, second.id} - {lost.id}
    assert servers_of(alias) == {first.id, second.id} - {lost.id}


@pytest.mark.parametrize("trouble", ["refused", "unknown"])
def test_without_a_list_a_connection_fails_in_time_and_says_why(add: Add, rds_api: RdsApi, trouble: str) -> None:
    rds_api.is_out = trouble == "refused"
    alias = add(wait_for_custom_endpoint_info_timeout_ms=1500)
    words = (
        "cannot be had.*AccessDenied" if trouble == "refused" else f"RDS knows nothing of the custom endpoint {HOST}"
    )
    began = time.monotonic()
    with pytest.raises(OperationalError, match=words):
        server_of(alias)
    assert time.monotonic() - began < 20


def test_who_does_not_wait_goes_anywhere_and_moves_once_there_is_a_list(
    cluster: LocalCluster, add: Add, rds_api: RdsApi
) -> None:
    rds_api.is_out = True
    alias = add(wait_for_custom_endpoint_info=False)
    assert server_of(alias) in {instance.id for instance in cluster.instances}
    rds_api.put(HOST, static=[cluster.writer.id])
    rds_api.is_out = False
    assert wait_until_on(alias, {cluster.writer.id}) == cluster.writer.id


def test_a_refusing_service_is_asked_less_and_less_often_and_the_last_list_holds(
    cluster: LocalCluster, add: Add, rds_api: RdsApi
) -> None:
    member = cluster.readers[0].id
    rds_api.put(HOST, static=[member])
    alias = add(custom_endpoint_info_refresh_rate_ms=1)
    wait_until_on(alias, {member})
    wait_for_calls(rds_api, 2)
    rds_api.is_out = True
    wait_for_calls(rds_api, 3)
    assert rds_api.calls[-1] - rds_api.calls[-2] >= 0.5, "a second, with up to half of it taken off"
    assert servers_of(alias, 2) == {member}


def test_the_thread_is_there_while_the_endpoint_is_in_use(cluster: LocalCluster, add: Add, rds_api: RdsApi) -> None:
    rds_api.put(HOST)
    alias = add(custom_endpoint_idle_monitor_expiration_ms=1500)
    server_of(alias)
    (members,) = connections[alias].known_cluster().member_lists._lists.values()
    wait_for_calls(rds_api, 3)
    assert members.is_running, "for there is a connection"
    connections[alias].close()
    deadline = time.monotonic() + 15
    while members.is_running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not members.is_running
    server_of(alias)
    assert members.is_running
    release_resources(5)
    assert not members.is_running
