"""Cold starts: HOST cannot be reached, and the other names of the cluster lead there; once met, HOST is not needed."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connections

from django_aurora_routing import FailoverFailedError, release_resources
from django_aurora_routing.cluster import registry
from django_aurora_routing.cluster.meeting import Inquiry, Met
from django_aurora_routing.lab import LocalCluster, LocalServer
from django_aurora_routing.lab.cluster import Instance

from .conftest import Aliases
from .test_failover import insert, promotion_after, rows, within
from .test_placement import server_of

TIMEOUT = 6  # seconds for a connect; HOST alone would use them up


def at(instance: Instance) -> str:
    return f"{instance.host}:{instance.port}"


def held(cluster: LocalCluster) -> int:
    """How many sessions of the application's user there are."""
    count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s"
    running = [instance for instance in cluster.instances if instance.state == "running"]
    return sum(instance.query(count, [cluster.user])[0][0] for instance in running)


FAULTS: dict[str, Callable[[Instance], None]] = {
    "refuses": Instance.kill,
    "swallows everything": Instance.black_hole,
    "is frozen": Instance.freeze,
}


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "list"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_host_that_is_not_there_is_replaced_by_another_name(
    cluster: LocalCluster, aliases: Aliases, table: str, fault: str, as_text: bool
) -> None:
    out, reader = cluster.readers
    FAULTS[fault](out)
    names = [at(out), at(reader), cluster.writer_endpoint.host]
    alias = aliases.add("w", host=out.host, connect_timeout=TIMEOUT, hosts=",".join(names) if as_text else names)
    began = time.monotonic()
    insert(alias, 1)
    assert time.monotonic() - began < TIMEOUT
    assert rows(cluster) == [1]
    assert server_of(alias) == cluster.writer.id


def test_a_host_that_is_no_name_any_more(cluster: LocalCluster, aliases: Aliases) -> None:
    alias = aliases.add("w", host="nowhere.invalid", hosts=[cluster.readers[0].host])
    assert server_of(alias) == cluster.writer.id


def test_who_was_asked_and_not_needed_is_let_go(cluster: LocalCluster, aliases: Aliases) -> None:
    """One answers late, after another has been taken; one is silent until its time is over."""
    silent, late = cluster.readers
    silent.black_hole()
    late.delay(0.15)
    alias = aliases.add("w", host=silent.host, connect_timeout=2, hosts=[late.host, cluster.writer.host])
    assert server_of(alias) == cluster.writer.id
    deadline = time.monotonic() + 15

    def meeting() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("aurora-meeting")]

    while (meeting() or held(cluster) > 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert meeting() == []
    assert held(cluster) <= 2  # the alias's own and the monitor's


def test_who_answers_before_his_thread_is_looked_at_is_asked_once(
    cluster: LocalCluster, aliases: Aliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that has done its work is no thread that could not be started."""
    asked: list[str] = []
    begin, ask = Inquiry.begin, Inquiry._ask

    def slowly(self: Inquiry) -> bool:
        begin(self)
        while self._thread.is_running:
            time.sleep(0.001)
        return self._thread.is_running

    def noted(self: Inquiry) -> Met:
        asked.append(self._address.host)
        return ask(self)

    monkeypatch.setattr(Inquiry, "begin", slowly)
    monkeypatch.setattr(Inquiry, "_ask", noted)
    out, reader = cluster.readers
    out.kill()
    alias = aliases.add("w", host=out.host, hosts=[reader.host, cluster.writer.host])
    assert server_of(alias) == cluster.writer.id
    assert asked == [out.host, reader.host]


def test_nobody_is_there(cluster: LocalCluster, aliases: Aliases) -> None:
    first, second = cluster.readers
    first.kill()
    second.black_hole()
    alias = aliases.add("w", host=first.host, connect_timeout=2, hosts=[second.host])
    began = time.monotonic()
    with pytest.raises(OperationalError) as failed:
        connections[alias].ensure_connection()
    assert time.monotonic() - began < 8
    assert at(first) in str(failed.value)
    assert at(second) in str(failed.value)
    second.heal()
    assert server_of(alias) == cluster.writer.id


def test_credentials_that_are_refused_by_another_name_are_said_to_be(cluster: LocalCluster, aliases: Aliases) -> None:
    out, reader = cluster.readers
    out.kill()
    alias = aliases.add("w", host=out.host, hosts=[reader.host], PASSWORD="sesame-open")
    with pytest.raises(OperationalError) as refused:
        connections[alias].ensure_connection()
    assert refused.value.args[0] == 1045
    assert "sesame-open" not in str(refused.value)


def test_a_name_that_leads_out_of_the_cluster_is_passed_over(
    cluster: LocalCluster, server: LocalServer, aliases: Aliases
) -> None:
    out, reader = cluster.readers
    out.kill()
    alias = aliases.add("w", host=out.host, hosts=[f"{server.host}:{server.port}", reader.host])
    assert server_of(alias) == cluster.writer.id


def test_the_pattern_is_still_asked_for_at_once(cluster: LocalCluster, aliases: Aliases) -> None:
    out, reader = cluster.readers
    out.black_hole()
    options: dict[str, Any] = {"cluster_instance_host_pattern": ..., "hosts": [reader.host], "connect_timeout": 30}
    alias = aliases.add("w", host=out.host, **options)
    began = time.monotonic()
    with pytest.raises(Exception, match="cluster_instance_host_pattern"):
        connections[alias].ensure_connection()
    assert time.monotonic() - began < 15


# A cluster without a writer


def test_a_cluster_met_through_a_reader_while_it_has_no_writer(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    """Readers are read from, and who wants the writer waits for one."""
    hosts = {"hosts": [reader.host for reader in cluster.readers]}
    cluster.writer.kill()
    reader = aliases.add("r", read_only=True, **hosts)
    assert server_of(reader) in {instance.id for instance in cluster.readers}
    writer = aliases.add("w", **hosts)
    with promotion_after(cluster, 1.0):
        insert(writer, 1)
    assert rows(cluster) == [1]


def test_who_meets_it_for_the_writer_waits_for_one_too(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    hosts = {"hosts": [reader.host for reader in cluster.readers]}
    cluster.writer.kill()
    impatient = aliases.add("i", failover_timeout_sec=1, **hosts)
    began = time.monotonic()
    with pytest.raises(FailoverFailedError, match="no writer could be reached"):
        insert(impatient, 1)
    assert time.monotonic() - began < 10
    with promotion_after(cluster, 1.0):
        insert(aliases.add("w", **hosts), 2)
    assert rows(cluster) == [2]


def test_a_new_writer_that_nobody_knew_of_is_found_by_the_other_names(django_db_blocker: Any) -> None:
    with LocalCluster(readers=0) as small, django_db_blocker.unblock():
        aliases = Aliases(small)
        first = small.writer
        alias = aliases.add("w", host=first.host, hosts=["127.0.0.12"], topology_refresh_ms=3_600_000)
        try:
            assert server_of(alias) == first.id
            small.add_reader()
            first.kill()
            small.promote()
            assert server_of(alias) == "12"
        finally:
            aliases.remove_all()
            release_resources()


# Once met


def test_a_cluster_that_was_met_is_found_again_without_host(
    cluster: LocalCluster, aliases: Aliases, table: str
) -> None:
    """HOST goes on leading to a dead instance; the process had let go of everything."""
    alias = aliases.add("w")
    server_of(alias)
    connections[alias].close()
    release_resources()
    cluster.hold_endpoint()
    cluster.writer.kill()
    cluster.promote()
    insert(alias, 1)
    assert rows(cluster) == [1]


def test_a_cluster_that_was_not_used_for_long_is_found_again_without_host(
    cluster: LocalCluster, aliases: Aliases, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_clusters", {})  # those of the other tests are more than are remembered
    alias = aliases.add("w", monitor_disposal_time_ms=1)
    assert within(20, lambda: server_of(alias)) is None  # in a thread, whose end is the end of its connections
    gc.collect()
    time.sleep(0.1)
    server_of(aliases.add("other", cluster_id="another"))  # the occasion to forget what is not used
    cluster.hold_endpoint()
    cluster.writer.kill()
    cluster.promote()
    insert(alias, 1)
    assert rows(cluster) == [1]
