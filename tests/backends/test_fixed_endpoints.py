"""The plugin `srw` on real servers: two fixed endpoints, and the roles of those that they lead to."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections

from django_aurora_routing import FailoverFailedError
from django_aurora_routing.lab import LocalCluster, LocalServer
from django_aurora_routing.lab.handles import Instance

from .conftest import Aliases
from .test_failover import execute, insert, rows
from .test_placement import server_of

pytestmark = pytest.mark.lab


def at(instance: Any) -> str:
    return f"{instance.host}:{instance.port}"


@pytest.fixture
def add(cluster: LocalCluster, aliases: Aliases) -> Callable[..., str]:
    def add(alias: str, **conf: Any) -> str:
        ends = {"srw_write_endpoint": at(cluster.writer), "srw_read_endpoint": at(cluster.readers[0])}
        quick = {"srw_connect_retry_timeout_ms": 300, "srw_connect_retry_interval_ms": 20}
        return aliases.add(
            alias, HOST="", PORT="", **{"plugins": "srw", "cluster_instance_host_pattern": ..., **ends, **quick, **conf}
        )

    return add


@contextlib.contextmanager
def turned(instance: Instance, read_only: int) -> Iterator[None]:
    instance.query(f"SET GLOBAL read_only = {read_only}")
    try:
        yield
    finally:
        instance.query(f"SET GLOBAL read_only = {1 - read_only}")


def test_an_alias_goes_to_its_endpoint_and_nothing_is_asked_of_a_cluster(
    cluster: LocalCluster, add: Callable[..., str], table: str
) -> None:
    writer, reader = add("w"), add("r", read_only=True)
    assert [server_of(writer), server_of(reader)] == [cluster.writer.id, cluster.readers[0].id]
    assert connections[writer].known_cluster() is connections[reader].known_cluster() is None
    insert(writer, 1)
    assert rows(cluster) == [1]


@pytest.mark.parametrize(("read_only", "wrong"), [(False, "srw_write_endpoint"), (True, "srw_read_endpoint")])
def test_a_server_of_the_wrong_role_is_refused_unless_it_is_said_otherwise(
    cluster: LocalCluster, add: Callable[..., str], read_only: bool, wrong: str
) -> None:
    other = cluster.writer if read_only else cluster.readers[1]
    conf = {"read_only": read_only, wrong: at(other), **({"failover_mode": "strict_reader"} if read_only else {})}
    with pytest.raises(FailoverFailedError, match="srw_connect_retry_timeout_ms"):
        execute(add("refused", **conf), "SELECT 1")
    assert server_of(add("unverified", **conf, srw_verify_new_connections=False)) == other.id
    role = "writer" if read_only else "reader"
    assert server_of(add("as_said", **conf, srw_verify_initial_connection_type=role)) == other.id


@pytest.mark.parametrize("pooled", [False, True])
def test_reads_go_to_the_write_endpoint_while_no_reader_can_be_had(
    cluster: LocalCluster, add: Callable[..., str], caplog: pytest.LogCaptureFixture, pooled: bool
) -> None:
    late = cluster.instance(cluster.readers[1].id)
    conf = {"pool": True, "CONN_MAX_AGE": 0} if pooled else {}
    alias = add("r", read_only=True, srw_read_endpoint=at(late), CONN_HEALTH_CHECKS=True, **conf)
    with turned(late, 0):
        assert server_of(alias) == cluster.writer.id
        assert "has no reader at" in caplog.text
        assert connections[alias].is_usable()
        caplog.clear()
        connections[alias].close()
        assert server_of(alias) == cluster.writer.id
        assert "has no reader at" not in caplog.text  # that is known, and not waited for once more
    deadline = time.monotonic() + 10
    while server_of(alias) != late.id and time.monotonic() < deadline:
        connections[alias].close()
        time.sleep(0.02)
    assert server_of(alias) == late.id
    connections[alias].close()
    connections[alias].close_pool()


def test_also_where_nobody_listens(cluster: LocalCluster, add: Callable[..., str]) -> None:
    nowhere = {"read_only": True, "srw_read_endpoint": "127.0.0.1:1"}
    assert server_of(add("r", **nowhere)) == cluster.writer.id
    with pytest.raises(OperationalError, match=r"2003|2002"):
        execute(add("strict", **nowhere, failover_mode="strict_reader"), "SELECT 1")


def test_it_is_tried_again_until_the_role_is_right(cluster: LocalCluster, add: Callable[..., str]) -> None:
    """As after a failover, while the endpoint's name still leads to the old writer."""
    late = cluster.readers[1]
    alias = add("w", srw_write_endpoint=at(late), srw_connect_retry_timeout_ms=20_000)
    found: list[str] = []
    thread = threading.Thread(target=lambda: (found.append(server_of(alias)), connections.close_all()))
    before = connects(late)
    thread.start()
    while connects(late) < before + 10 and thread.is_alive():  # the counter counts our questions for it, too
        time.sleep(0.01)
    with turned(late, 0):
        thread.join(20)
    assert found == [late.id]


def connects(instance: Instance) -> int:
    return int(instance.query("SHOW GLOBAL STATUS LIKE 'Connections'")[0][1])


def test_a_wrong_password_is_not_tried_again(add: Callable[..., str]) -> None:
    with pytest.raises(OperationalError, match="1045"):
        execute(add("w", PASSWORD="wrong", srw_connect_retry_timeout_ms=600_000), "SELECT 1")


def test_a_health_check_finds_a_demoted_writer(cluster: LocalCluster, add: Callable[..., str]) -> None:
    alias = add("w")
    execute(alias, "SELECT 1")
    assert connections[alias].is_usable()
    with turned(cluster.writer, 1):
        assert not connections[alias].is_usable()


def test_plain_servers_and_a_pool(cluster: LocalCluster, server: LocalServer, add: Callable[..., str]) -> None:
    account = {"USER": server.user, "PASSWORD": server.password, "NAME": server.default_database}
    alias = add("w", srw_write_endpoint=at(server), pool=True, CONN_MAX_AGE=0, **account)
    session = execute(alias, "SELECT CONNECTION_ID()")
    connections[alias].close()
    assert execute(alias, "SELECT CONNECTION_ID()") == session
    connections[alias].close()
    connections[alias].close_pool()


def test_with_failover_the_endpoint_is_where_the_topology_is_asked(
    cluster: LocalCluster, add: Callable[..., str]
) -> None:
    conf = {"plugins": "srw,failover_v2", "cluster_instance_host_pattern": cluster.host_pattern}
    assert server_of(add("w", **conf, srw_write_endpoint=at(cluster.readers[0]))) == cluster.writer.id


def test_the_plugin_for_clusters_sends_read_only_aliases_to_readers(cluster: LocalCluster, aliases: Aliases) -> None:
    writer = aliases.add("w", plugins="read_write_splitting")
    reader = aliases.add("r", plugins="read_write_splitting", read_only=True)
    assert server_of(writer) == cluster.writer.id
    assert server_of(reader) in {instance.id for instance in cluster.readers}


def test_a_missing_endpoint_is_named(add: Callable[..., str]) -> None:
    with pytest.raises(ImproperlyConfigured, match="srw_read_endpoint"):
        execute(add("r", read_only=True, srw_read_endpoint=...), "SELECT 1")
