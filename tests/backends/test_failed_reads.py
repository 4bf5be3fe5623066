"""A read that loses its reader goes to the next one, then to the writer: real servers, killed under open connections.

Without our plugins the backend does what Django's own does: it raises the driver's error and looks for nobody else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.test import override_settings

from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.routing import readers as reader_choice
from django_aurora_routing.routing.scopes import current_scope, mark_written, scope

from .conftest import Aliases
from .test_failover import execute
from .test_placement import server_of

PINS: dict[str, Any] = {"plugins": "", "cluster_instance_host_pattern": ..., "cluster_id": ...}


@pytest.fixture
def split(cluster: LocalCluster, aliases: Aliases, table: str) -> Iterator[dict[str, Any]]:
    """One alias an instance, told to Django as a cluster; all connected. The instances by their aliases."""
    instances = dict(zip(("w", "r1", "r2"), (cluster.writer, *cluster.readers), strict=True))
    for alias, instance in instances.items():
        aliases.add(alias, host=instance.host, port=instance.port, **PINS)
        connections[alias].ensure_connection()
    reader_choice.forget_failures()
    roles = {"CLUSTERS": {"default": {"writer": "w", "readers": ["r1", "r2"]}}}
    with override_settings(AURORA_ROUTING=roles), scope("test"):
        yield instances
    reader_choice.forget_failures()


def test_trap_45_a_read_goes_to_the_next_reader(split: dict[str, Any]) -> None:
    current_scope().readers["default"] = "r1"
    split["r1"].kill()
    with connections["r1"].cursor() as cursor:
        cursor.execute("SELECT @@port, %s", [5])
        assert cursor.description is not None
        ((port, five),) = cursor.fetchall()
        assert cursor.db.alias == "r2"
    assert (port, five) == (execute("r2", "SELECT @@port")[0][0], 5)
    assert reader_choice.is_aside("r1")
    assert "default" not in current_scope().readers  # the next read of this scope chooses anew


def test_a_cursor_that_leads_elsewhere_belongs_there(split: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own would else take it for one that was kept over a loss, and make its driver's cursor once more."""
    made: list[str] = []
    backend = type(connections["r2"])
    create_cursor = backend.create_cursor

    def noted(self: Any, name: str | None = None) -> Any:
        made.append(self.alias)
        return create_cursor(self, name)

    current_scope().readers["default"] = "r1"
    split["r1"].kill()
    connections["r2"].cursor().close()
    monkeypatch.setattr(backend, "create_cursor", noted)
    with connections["r1"].cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.made_on is cursor.db.connection
        cursor.execute("SELECT 1")
    assert made == ["r1", "r2"]


def test_trap_45_and_then_to_the_writer(split: dict[str, Any]) -> None:
    split["r1"].kill()
    split["r2"].kill()
    assert execute("r1", "SELECT @@port") == execute("w", "SELECT @@port")
    assert reader_choice.is_aside("r1")
    assert reader_choice.is_aside("r2")


def test_trap_45_unless_settings_keep_reads_from_the_writer(split: dict[str, Any]) -> None:
    split["r1"].kill()
    split["r2"].kill()
    roles = {"CLUSTERS": {"default": {"writer": "w", "readers": ["r1", "r2"]}}, "ON_NO_READER": "error"}
    with override_settings(AURORA_ROUTING=roles), pytest.raises(OperationalError):
        execute("r1", "SELECT 1")


def test_trap_45_not_inside_a_transaction(split: dict[str, Any]) -> None:
    with pytest.raises(OperationalError), transaction.atomic(using="r1"):
        execute("r1", "SELECT 1")
        split["r1"].kill()
        execute("r1", "SELECT 1")
    assert not reader_choice.is_aside("r1")


def test_trap_45_not_for_an_error_of_the_read_itself(split: dict[str, Any]) -> None:
    with pytest.raises(OperationalError):  # 1054, an unknown column
        execute("r1", "SELECT nothing FROM t")
    assert execute("r1", "SELECT @@port") != execute("r2", "SELECT @@port")


def test_trap_45_a_reader_that_comes_back_serves_again(split: dict[str, Any]) -> None:
    split["r1"].kill()
    execute("r1", "SELECT 1")
    split["r1"].revive()
    assert server_of("r1") == split["r1"].id


def test_trap_45_what_a_scope_has_written_is_waited_for_there_too(split: dict[str, Any]) -> None:
    roles = {"CLUSTERS": {"default": {"writer": "w", "readers": ["r1", "r2"]}}, "PIN_POLICY": "reader_session"}
    with override_settings(AURORA_ROUTING=roles), scope():
        assert execute("r1", "SELECT @@aurora_replica_read_consistency") == [("",)]
        mark_written()
        split["r1"].kill()
        assert execute("r1", "SELECT @@aurora_replica_read_consistency") == [("GLOBAL",)]
        split["r2"].kill()
        assert execute("r2", "SELECT @@aurora_replica_read_consistency") == [("",)]  # the writer has it all
        split["r2"].revive()
        with scope():
            assert execute("r2", "SELECT @@aurora_replica_read_consistency") == [("",)]


def test_a_write_whose_answer_was_lost_is_read_from_the_writer(split: dict[str, Any]) -> None:
    with scope() as ours:
        with pytest.raises(OperationalError):
            execute("w", "INSERT INTO t VALUES (1, 2, 3, 4, 5)")  # refused
        assert not ours.is_pinned("default")
        (number,) = execute("w", "SELECT CONNECTION_ID()")[0]
        threading.Timer(0.5, split["w"].query, [f"KILL {number}"]).start()
        with pytest.raises(OperationalError):
            execute("w", "INSERT INTO t (id) SELECT SLEEP(5)")
        assert ours.is_pinned("default")
