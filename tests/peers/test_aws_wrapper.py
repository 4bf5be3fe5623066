"""The unmodified AWS wrapper takes the lab for Aurora MySQL: this is how we know that the lab looks right.

Needs the extra "peers" (tox -e peer).
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import mysql.connector
import pytest

from django_aurora_routing.lab import LocalCluster

aws_wrapper = pytest.importorskip("aws_advanced_python_wrapper")

from aws_advanced_python_wrapper.errors import FailoverSuccessError  # noqa: E402

pytestmark = [
    pytest.mark.lab,
    pytest.mark.peers,
    # The wrapper and the connector leave sockets of failed attempts to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@contextlib.contextmanager
def wrapped(cluster: LocalCluster, host: str, *, plugins: str = "failover_v2") -> Iterator[Any]:
    connection = aws_wrapper.AwsWrapperConnection.connect(
        mysql.connector.Connect,
        f"host={host} port={cluster.port} database=app user={cluster.user} password={cluster.password}",
        plugins=plugins,
        cluster_instance_host_pattern=cluster.host_pattern,
        cluster_id=cluster.name,
        failover_timeout_sec=20,
        use_pure=True,
        autocommit=True,
    )
    try:
        yield connection
    finally:
        with contextlib.suppress(Exception):
            connection.close()
        aws_wrapper.release_resources()


def answer(connection: Any, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()[0][0]


def insert(connection: Any, token: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO peers (token) VALUES (%s)", (token,))


def test_it_detects_aurora_and_reads_the_topology(cluster: LocalCluster) -> None:
    expected = {f"{instance.host}:{instance.port}": instance.role.upper() for instance in cluster.instances}

    with wrapped(cluster, cluster.writer_endpoint.host) as connection:
        dialect = type(connection._plugin_service.database_dialect).__name__
        # At connect it reads the topology only where it has not met the host before.
        connection._plugin_service.refresh_host_list()
        found = {f"{host.host}:{host.port}": host.role.name for host in connection._plugin_service.all_hosts}

    assert dialect == "AuroraMysqlDialect"
    assert found == expected


@pytest.mark.parametrize("plugins", ["failover_v2", "failover"])
def test_it_fails_over_when_the_writer_dies(cluster: LocalCluster, plugins: str) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE peers (token VARCHAR(20))")
    old = cluster.writer
    with wrapped(cluster, cluster.writer_endpoint.host, plugins=plugins) as connection:
        insert(connection, "before")
        old.kill()
        promotion = cluster.promote()
        with pytest.raises(FailoverSuccessError):
            insert(connection, "lost")
        insert(connection, "after")
        seconds = time.monotonic() - promotion.writable

        assert answer(connection, "SELECT @@aurora_server_id") == promotion.new
    assert seconds < 5
    assert cluster.writer.query("SELECT token FROM peers ORDER BY token") == [("after",), ("before",)]


def test_it_fails_over_at_a_planned_switch(cluster: LocalCluster) -> None:
    cluster.writer.query("CREATE OR REPLACE TABLE peers (token VARCHAR(20))")
    with wrapped(cluster, cluster.writer_endpoint.host) as connection:
        insert(connection, "before")
        promotion = cluster.promote()
        with pytest.raises(FailoverSuccessError):
            insert(connection, "refused with 1290")
        insert(connection, "after")

        assert answer(connection, "SELECT @@aurora_server_id") == promotion.new


def test_it_finds_a_reader_for_read_write_splitting(cluster: LocalCluster) -> None:
    readers = {reader.id for reader in cluster.readers}

    with wrapped(cluster, cluster.writer_endpoint.host, plugins="read_write_splitting,failover_v2") as connection:
        connection.read_only = True
        on_reader = answer(connection, "SELECT @@aurora_server_id")
        connection.read_only = False
        on_writer = answer(connection, "SELECT @@aurora_server_id")

    assert on_reader in readers
    assert on_writer == cluster.writer.id
