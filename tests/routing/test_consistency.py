"""Aurora's read consistency on a reader's session: when it is set, when it is sent, and what a read sees then."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_aurora_routing.lab import LocalCluster, LocalServer
from django_aurora_routing.routers import ReadWriteRouter
from django_aurora_routing.routing.consistency import GLOBAL, ensure
from django_aurora_routing.routing.errors import WritePrevented
from django_aurora_routing.routing.scopes import scope
from tests.backends.conftest import Aliases

LEVEL = "SELECT @@aurora_replica_read_consistency"


@pytest.fixture
def reader(aliases: Aliases, cluster: LocalCluster) -> Any:
    """The connection of a reader's alias, to a cluster with an empty table."""
    cluster.writer.query("CREATE OR REPLACE TABLE app.consistent (id INT)")
    cluster.catch_up()
    return connections[aliases.add("r", read_only=True)]


def run(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def sent_so_far(connection: Any) -> int:
    """How many statements the server has had of this session. The connector counts its pings apart."""
    return int(run(connection, "SHOW SESSION STATUS LIKE 'Questions'")[0][1])


def test_a_read_waits_for_what_was_committed_elsewhere(reader: Any, cluster: LocalCluster) -> None:
    for instance in cluster.readers:
        instance.delay_replication(30)
    cluster.writer.query("INSERT INTO app.consistent VALUES (1)")
    assert run(reader, "SELECT id FROM consistent") == []
    ensure(reader, GLOBAL)
    end = threading.Timer(1.0, lambda: [instance.delay_replication(0) for instance in cluster.readers])
    end.start()
    began = time.monotonic()
    assert run(reader, "SELECT id FROM consistent") == [(1,)]
    took = time.monotonic() - began
    end.join()
    assert took > 0.9
    ensure(reader, None)
    for instance in cluster.readers:
        instance.delay_replication(30)
    cluster.writer.query("INSERT INTO app.consistent VALUES (2)")
    assert run(reader, "SELECT id FROM consistent") == [(1,)]


def test_it_costs_a_reader_that_keeps_up_little(reader: Any, cluster: LocalCluster) -> None:
    ensure(reader, GLOBAL)
    took = []
    for number in range(50):
        cluster.writer.query(f"INSERT INTO app.consistent VALUES ({number})")
        began = time.monotonic()
        assert run(reader, "SELECT MAX(id) FROM consistent") == [(number,)]
        took.append(time.monotonic() - began)
    took.sort()
    print(f"a consistent read took {took[25] * 1000:.1f} ms (median), {took[-1] * 1000:.1f} ms (longest)")


def test_it_is_sent_only_when_it_changes_and_is_no_query_of_the_application(reader: Any) -> None:
    ensure(reader, None)
    assert reader.connection is None, "what is not connected has the default level"
    before = sent_so_far(reader)
    ensure(reader, None)
    with CaptureQueriesContext(reader) as queries:
        ensure(reader, GLOBAL)
        ensure(reader, GLOBAL)
    assert not queries.captured_queries
    assert run(reader, LEVEL) == [("GLOBAL",)]
    ensure(reader, GLOBAL)
    ensure(reader, None)
    ensure(reader, None)
    assert run(reader, LEVEL) == [("",)]
    sets, questions = 2, 2
    assert sent_so_far(reader) - before == sets + questions + 1


def test_an_execute_wrapper_may_call_it(reader: Any) -> None:
    wrapped = []

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        wrapped.append(sql)
        ensure(context["connection"], GLOBAL)
        return execute(sql, params, many, context)

    reader.ensure_connection()
    with reader.execute_wrapper(wrapper):
        assert run(reader, LEVEL) == [("GLOBAL",)]
    assert wrapped == [LEVEL]


def test_a_session_that_takes_its_place_has_the_level_too(reader: Any, cluster: LocalCluster) -> None:
    ensure(reader, GLOBAL)
    (before,) = run(reader, "SELECT @@aurora_server_id")
    cluster.instance(before[0]).kill()
    assert run(reader, LEVEL) == [("GLOBAL",)], "the read is repeated on another reader, by the backend"
    assert run(reader, "SELECT @@aurora_server_id") != [before]
    reader.close()
    assert run(reader, LEVEL) == [("GLOBAL",)]
    reader.close()
    ensure(reader, None)
    assert reader.connection is None
    assert run(reader, LEVEL) == [("",)]


def test_a_loss_that_it_meets_is_repeated_by_the_backend(reader: Any, cluster: LocalCluster) -> None:
    (before,) = run(reader, "SELECT @@aurora_server_id")
    cluster.instance(before[0]).kill()
    ensure(reader, GLOBAL)
    assert run(reader, LEVEL) == [("GLOBAL",)]


def test_a_server_without_it_says_what_to_use_instead(aliases: Aliases, server: LocalServer) -> None:
    plain = connections[aliases.add("plain", HOST=server.host, PORT=server.port, plugins="")]
    with pytest.raises(ImproperlyConfigured, match=r"'plain' has no aurora_replica_read_consistency.*'lag'"):
        ensure(plain, GLOBAL)
    assert run(plain, "SELECT 1") == [(1,)]


def test_another_engine_has_it_even_less(databases: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="'reader1' has no"):
        ensure(connections["reader1"], GLOBAL)


def test_the_policy_has_a_scopes_reads_wait_at_the_reader_for_what_it_wrote(
    reader: Any, aliases: Aliases, cluster: LocalCluster
) -> None:
    aliases.add("w")
    routing = {
        "CLUSTERS": {"main": {"writer": "w", "readers": ["r"]}},
        "PIN_POLICY": "reader_session",
        "PIN_SECONDS": 30,
    }
    with override_settings(AURORA_ROUTING=routing):
        for number in range(20):
            with scope():
                with connections["w"].cursor() as cursor:
                    cursor.execute(f"INSERT INTO consistent VALUES ({number})")
                assert ReadWriteRouter("main").db_for_read(ContentType) == "r", "reads stay at the reader"
                assert run(reader, "SELECT MAX(id) FROM consistent") == [(number,)]
                assert run(reader, LEVEL) == [("GLOBAL",)]
                with pytest.raises(WritePrevented), connections["r"].cursor() as cursor:
                    cursor.execute("INSERT INTO consistent VALUES (0)")
                with transaction.atomic(using="w"):
                    assert ReadWriteRouter("main").db_for_read(ContentType) == "w"
            with scope():
                assert run(reader, LEVEL) == [("",)], "others do not wait"
