"""What an application sees: pictures of a cluster, signals of what happens to it, and reasons in the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.db.utils import ConnectionDoesNotExist

from django_aurora_routing import cluster_for, signals
from django_aurora_routing.core.snapshot import ClusterSnapshot
from django_aurora_routing.lab import LocalCluster, LocalServer

from .conftest import Aliases
from .test_failover import insert
from .test_placement import server_of, wait_until_on

NAMES = ("topology_changed", "failover_started", "failover_completed", "reader_set_aside", "reader_restored")


class Heard:
    """What the receivers of all signals were told, and where."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.threads: set[str] = set()

    def connect(self) -> list[Callable[..., None]]:
        return [self._connect(name) for name in NAMES]

    def _connect(self, name: str) -> Callable[..., None]:
        def receive(sender: object, signal: object, **named: Any) -> None:
            assert sender is ClusterSnapshot
            self.threads.add(threading.current_thread().name)
            self.told.append((name, named))

        getattr(signals, name).connect(receive, weak=False, dispatch_uid="heard")
        return receive

    def of(self, name: str) -> list[dict[str, Any]]:
        return [named for told, named in self.told if told == name]

    def wait_for(self, name: str, seconds: float = 15.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while not (found := self.of(name)):
            assert time.monotonic() < deadline, f"no {name} among {[told for told, _ in self.told]}"
            time.sleep(0.01)
        return found[0]


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard()
    made.connect()
    yield made
    for name in NAMES:
        getattr(signals, name).disconnect(dispatch_uid="heard")


def test_a_picture_of_the_cluster(cluster: LocalCluster, aliases: Aliases) -> None:
    alias = aliases.add("w")
    assert cluster_for(alias) is None  # nobody has met it
    connections[alias].ensure_connection()
    seen = cluster_for(alias)
    assert seen is not None
    assert seen.writer is not None
    assert seen.kind == "aurora-mysql"
    assert seen.writer.id == cluster.writer.id
    assert {reader.id for reader in seen.readers} == {reader.id for reader in cluster.readers}
    assert seen.age < 30
    assert f"{cluster.writer.id} writer" in repr(seen)
    with pytest.raises(AttributeError):
        seen.writer = None  # type: ignore[misc]


def test_there_is_no_picture_where_there_is_nothing_to_see(
    cluster: LocalCluster, server: LocalServer, aliases: Aliases
) -> None:
    alone = aliases.add("alone", plugins="")
    connections[alone].ensure_connection()
    assert cluster_for(alone) is None
    assert cluster_for("default") is None  # SQLite
    with pytest.raises(ConnectionDoesNotExist):
        cluster_for("nowhere")
    single = aliases.add("single", host=server.host, port=server.port, cluster_instance_host_pattern=...)
    connections[single].ensure_connection()
    seen = cluster_for(single)
    assert seen is not None
    assert (seen.kind, len(seen.instances), seen.readers) == ("mysql", 1, ())


def test_a_failover_is_told_once_and_in_order(
    cluster: LocalCluster, aliases: Aliases, table: str, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_aurora_routing")
    alias = aliases.add("w")
    insert(alias, 1)
    assert heard.wait_for("topology_changed")["changes"].promoted.id == cluster.writer.id
    heard.told.clear()
    old = cluster.writer.id
    cluster.writer.kill()
    promotion = threading.Thread(target=cluster.promote)
    promotion.start()
    insert(alias, 2)
    promotion.join()
    told = heard.wait_for("failover_completed")
    new = cluster.writer.id
    assert (told["old_writer"].id, told["writer"].id, told["cluster"].writer.id) == (old, new, new)
    assert 0 < told["seconds"] < 30
    started = heard.wait_for("failover_started")
    assert started["writer"].id == old
    assert started["reason"]
    names = [name for name, _ in heard.told if name not in ("reader_set_aside", "reader_restored")]
    assert names[0] == "failover_started"
    assert names[-1] == "failover_completed"
    assert set(names[1:-1]) == {"topology_changed"}
    assert heard.threads == {"aurora-signals"}
    assert f"{new} is the writer now" in caplog.text


def test_a_reader_that_fails_and_comes_back(cluster: LocalCluster, aliases: Aliases, heard: Heard) -> None:
    alias = aliases.add("r", read_only=True)
    out = next(
        reader for reader in cluster.readers if reader.id == wait_until_on(alias, {r.id for r in cluster.readers})
    )
    out.kill()
    assert server_of(alias) != out.id
    told = heard.wait_for("reader_set_aside")
    assert told["instance"].id == out.id
    assert told["reason"]
    assert out.id in {instance.id for instance in told["cluster"].set_aside}
    out.revive()
    assert heard.wait_for("reader_restored", 60)["instance"].id == out.id


def test_receivers_harm_nobody(cluster: LocalCluster, aliases: Aliases, heard: Heard, table: str) -> None:
    """One raises, one waits for long and then uses the very database; statements and the other receivers go on."""
    let_go, used = threading.Event(), []
    alias = aliases.add("w")

    def fail(**named: Any) -> None:
        raise ValueError("a receiver's mistake")

    def use(cluster: ClusterSnapshot, **named: Any) -> None:
        let_go.wait(30)
        used.append((cluster_for(alias), server_of(alias)))

    signals.topology_changed.connect(fail, weak=False, dispatch_uid="fail")
    signals.topology_changed.connect(use, weak=False, dispatch_uid="use")
    try:
        insert(alias, 1)  # and is not held up
        assert not used
        let_go.set()
        deadline = time.monotonic() + 15
        while not used:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        let_go.set()
        for uid in ("fail", "use"):
            signals.topology_changed.disconnect(dispatch_uid=uid)
    seen, server = used[0]
    assert (seen.writer.id, server) == (cluster.writer.id, cluster.writer.id)
    heard.wait_for("topology_changed")


def running() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_nothing_starts_while_nobody_listens(cluster: LocalCluster, aliases: Aliases) -> None:
    deadline = time.monotonic() + 15
    while "aurora-signals" in running() and time.monotonic() < deadline:
        time.sleep(0.01)  # it tells what a test before had to tell
    connections[aliases.add("w")].ensure_connection()
    assert "aurora-signals" not in running()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "alias 'a' is connected to {} (writer, {}): the writer"),
        (
            {"read_only": True, "reader_host_selector_strategy": "round_robin"},
            "alias 'a' is connected to {} (reader, {}): round_robin of ",
        ),
    ],
)
def test_the_log_says_of_each_connection_why_it_is_there(
    cluster: LocalCluster, aliases: Aliases, caplog: pytest.LogCaptureFixture, options: dict[str, Any], words: str
) -> None:
    caplog.set_level(logging.DEBUG, "django_aurora_routing")
    server = server_of(aliases.add("a", **options))
    instance = next(instance for instance in cluster.instances if instance.id == server)
    assert words.format(server, f"{instance.host}:{instance.port}") in caplog.text
