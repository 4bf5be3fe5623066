"""Plugins that are called, on real servers: one's own, timings, and faults for tests."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, OperationalError, connections, transaction
from django.test import override_settings

from django_aurora_routing import FailoverSuccessError, TransactionResolutionUnknownError
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.topology import Topology
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.plugins import Plugin, Timing, reset_timings, timings
from django_aurora_routing.testing import cut_connections, failing_connects, failing_statements

from .conftest import Aliases
from .test_failover import insert, rows
from .test_placement import server_of, wait_until_on

pytestmark = pytest.mark.lab


class Diary(Plugin):
    """Writes down what it is called for, for all threads."""

    entries: list[tuple[Any, ...]] = []

    def connect(self, address: Address, connect: Callable[[], Any]) -> Any:
        self.entries.append(("connect", self.alias, address))
        return connect()

    def execute(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        self.entries.append(("execute", sql, many, context["connection"].alias))
        return execute(sql, params, many, context)

    def topology_changed(self, topology: Topology) -> None:
        assert topology.writer is not None
        self.entries.append(("topology", topology.writer.id))


class Connects(Plugin):
    """Asks for connects alone."""

    def connect(self, address: Address, connect: Callable[[], Any]) -> Any:
        return connect()


class Failing(Plugin):
    """Raises at a change, and where it is told to, while it is made."""

    is_made = True

    def __init__(self, alias: str) -> None:
        if not self.is_made:
            raise RuntimeError("cannot be made")
        super().__init__(alias)

    def topology_changed(self, topology: Topology) -> None:
        raise RuntimeError("cannot hear of it")


FAILING = f"{Failing.__module__}.Failing"
DIARY = f"{Diary.__module__}.Diary"


@pytest.fixture
def diary() -> Iterator[list[tuple[Any, ...]]]:
    Diary.entries.clear()
    yield Diary.entries
    Diary.entries.clear()


def address_of(instance: Any) -> Address:
    return Address(instance.host, instance.port)


def test_a_plugin_is_called_around_connects_and_statements(
    cluster: LocalCluster, aliases: Aliases, table: str, diary: list[tuple[Any, ...]]
) -> None:
    alias = aliases.add("w", plugins=f"failover_v2,{DIARY}")
    with connections[alias].cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(1, "a"), (2, "b")])
    writer = cluster.writer
    statements = [entry for entry in diary if entry[0] == "execute"]
    assert diary[:2] == [("connect", "w", address_of(writer)), ("topology", writer.id)]
    assert statements[-1] == ("execute", "INSERT INTO t VALUES (%s, %s)", True, "w")
    connections[alias].close()
    server_of(alias)
    assert len([entry for entry in diary if entry[0] == "connect"]) == 2
    assert len([entry for entry in diary if entry[0] == "topology"]) == 1, "it has heard of this one"


def test_a_plugin_hears_of_a_change_at_the_next_safe_point(
    cluster: LocalCluster, aliases: Aliases, diary: list[tuple[Any, ...]]
) -> None:
    alias = aliases.add("w", plugins=f"aurora_connection_tracker,{DIARY}", topology_refresh_ms=200)
    former = server_of(alias)
    cluster.promote()
    assert wait_until_on(alias, {cluster.writer.id}) == cluster.writer.id
    heard = [entry[1] for entry in diary if entry[0] == "topology"]
    assert (heard[0], heard[-1]) == (former, cluster.writer.id)


def test_what_a_plugin_raises_at_a_change_harms_no_connection(
    aliases: Aliases, diary: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    alias = aliases.add("w", plugins=f"failover_v2,{FAILING},{DIARY}")
    server_of(alias)
    assert [entry[0] for entry in diary if entry[0] == "topology"] == ["topology"], "the next one hears of it"
    assert "cannot hear of it" in caplog.text


def test_a_plugin_that_cannot_be_made_is_never_left_out(aliases: Aliases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Failing, "is_made", False)
    alias = aliases.add("w", plugins=FAILING)
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match=r"DATABASES\['w'\].*'plugins'.*Failing.*cannot be made"):
            server_of(alias)


def test_only_a_plugin_that_asks_for_statements_is_called_for_them(aliases: Aliases) -> None:
    plain, asking = aliases.add("w", plugins=f"{Connects.__module__}.Connects"), aliases.add("d", plugins=DIARY)
    for alias in (plain, asking):
        server_of(alias)
    wrappers = {
        alias: [wrapper for wrapper in connections[alias].execute_wrappers if isinstance_of_plugin(wrapper)]
        for alias in (plain, asking)
    }
    assert (len(wrappers[plain]), len(wrappers[asking])) == (0, 1)


def isinstance_of_plugin(wrapper: Any) -> bool:
    return isinstance(getattr(wrapper, "__self__", None), Plugin)


def test_wrappers_of_a_block_and_of_a_plugin_leave_each_other_alone(
    aliases: Aliases, diary: list[tuple[Any, ...]]
) -> None:
    """Django's `execute_wrapper()` takes the last of the list away, whatever it is."""
    seen = []

    def note(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    alias = aliases.add("w", plugins=DIARY)
    with connections[alias].execute_wrapper(note):
        server_of(alias)  # connects inside of the block
    diary.clear()
    count = len(seen)
    server_of(alias)
    assert len(seen) == count
    assert [entry[0] for entry in diary] == ["execute"]


# -- connect_time, execute_time


@pytest.fixture
def measured() -> Iterator[Callable[[str], list[Timing]]]:
    def of(what: str) -> list[Timing]:
        return [timing for timing in timings() if timing.what == what]

    reset_timings()
    yield of
    reset_timings()


@pytest.mark.parametrize("plugins", ["failover_v2,connect_time,execute_time", "execute_time,connect_time"])
def test_connects_and_statements_are_timed_by_alias_and_instance(
    cluster: LocalCluster,
    aliases: Aliases,
    measured: Callable[[str], list[Timing]],
    caplog: pytest.LogCaptureFixture,
    plugins: str,
) -> None:
    caplog.set_level(logging.DEBUG, logger="django_aurora_routing.plugins.stopwatch")
    where = cluster.writer if "failover" in plugins else cluster.writer_endpoint  # without a cluster, HOST is all
    alias, instance = aliases.add("w", plugins=plugins), str(address_of(where))
    connections[alias].ensure_connection()
    reset_timings()
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT SLEEP(0.05)")
        with contextlib.suppress(Error):
            cursor.execute("SELEKT")
    connections[alias].close()
    connections[alias].connect()
    (connect,) = measured("connect")
    assert (connect.alias, connect.instance, connect.count, connect.failed) == (alias, instance, 1, 0)
    (execute,) = measured("execute")
    assert (execute.alias, execute.instance, execute.failed) == (alias, instance, 1)
    assert execute.total >= execute.maximum >= 0.05
    assert sum(execute.histogram[:4]) == execute.count - 1, "all but one took less than 30 ms"
    assert any("alias 'w', " in record.getMessage() for record in caplog.records)


def test_a_statement_that_is_sent_again_is_one(
    cluster: LocalCluster, aliases: Aliases, measured: Callable[[str], list[Timing]]
) -> None:
    alias = aliases.add("w", plugins="failover_v2,execute_time,connect_time,dev")
    connections[alias].ensure_connection()
    reset_timings()
    with cut_connections(alias, matching="SELECT @@aurora_server_id") as fault:
        server_of(alias)
    assert fault.happened == 1
    assert sum(timing.count for timing in measured("connect")) == 1
    counted = [timing for timing in measured("execute") if timing.failed]
    assert counted == []


@pytest.mark.parametrize("plugins", ["failover_v2,execute_time", "execute_time"])
def test_statements_are_timed_where_a_kept_session_leads(
    cluster: LocalCluster, aliases: Aliases, measured: Callable[[str], list[Timing]], plugins: str
) -> None:
    where = cluster.readers if "failover" in plugins else [cluster.writer_endpoint]
    options = {"pool": True, "CONN_MAX_AGE": 0, "read_only": "failover" in plugins}
    alias = aliases.add("r", plugins=plugins, reader_host_selector_strategy="round_robin", **options)
    for _ in range(2):  # the second thread finds a session, of each reader, in the pools
        reset_timings()

        def work() -> None:
            for _ in range(2):
                server_of(alias)
                connections[alias].close()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(20)
    connections[alias].close_pool()
    assert {timing.instance for timing in measured("execute")} == {str(address_of(one)) for one in where}


# -- dev


def test_a_statement_fails_on_purpose(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    alias = aliases.add("w", plugins="failover_v2,dev")
    error = TransactionResolutionUnknownError("on purpose")
    with failing_statements(alias, error, matching="INSERT") as fault:
        assert server_of(alias) == cluster.writer.id
        with pytest.raises(TransactionResolutionUnknownError) as raised, transaction.atomic(using=alias):
            insert(alias, 1)
        insert(alias, 2)
    assert raised.value is error
    assert (fault.happened, fault.remaining) == (1, 0)
    assert rows(cluster) == [2]


def test_a_connect_fails_on_purpose_in_any_thread_as_often_as_said(aliases: Aliases) -> None:
    alias = aliases.add("w", plugins="failover_v2,dev")
    raised: list[BaseException] = []

    def connect() -> None:
        try:
            connections[alias].ensure_connection()
        except OperationalError as exc:
            raised.append(exc)
        finally:
            connections[alias].close()

    with failing_connects(alias, lambda: OperationalError(2003, "no route"), times=2) as fault:
        for _ in range(3):
            thread = threading.Thread(target=connect)
            thread.start()
            thread.join(20)
    assert fault.happened == 2
    assert [error.args for error in raised] == [(2003, "no route")] * 2
    assert raised[0] is not raised[1]


def test_an_error_of_the_drivers_is_taken_for_the_servers(cluster: LocalCluster, aliases: Aliases) -> None:
    alias = aliases.add("w", plugins="failover_v2,dev")
    driver = connections[alias].driver
    with failing_connects(alias, driver.never_sent) as fault:
        assert server_of(alias) == cluster.writer.id, "connecting went on"
    assert fault.happened == 1


def test_a_connection_that_is_cut_is_really_lost(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    alias = aliases.add("w", plugins="failover_v2,dev")
    with pytest.raises(FailoverSuccessError) as lost, transaction.atomic(using=alias):
        insert(alias, 1)
        with cut_connections(alias, matching="INSERT") as fault:
            insert(alias, 2)
    insert(alias, 3)
    assert fault.happened == 1
    assert lost.value.in_transaction
    assert rows(cluster) == [3]


def test_a_profile_may_name_the_plugin(aliases: Aliases) -> None:
    profiles = {"of tests": {"plugins": "failover_v2,dev"}}
    with override_settings(AURORA_ROUTING={"CLUSTERS": {}, "PROFILES": profiles}):
        alias = aliases.add("w", profile_name="of tests")
        with failing_connects(alias, OperationalError("on purpose")), pytest.raises(OperationalError):
            connections[alias].ensure_connection()


def test_faults_are_for_aliases_that_name_the_plugin(aliases: Aliases) -> None:
    alias = aliases.add("w")
    with pytest.raises(ImproperlyConfigured, match="Name 'dev' in OPTIONS"), failing_connects(alias, Error):
        pass
