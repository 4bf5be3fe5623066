"""Keeps a cluster's view up to date: one thread and one connection at rest, a probe per instance while looking
for the writer."""

from __future__ import annotations

import logging
import random
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.endpoints import Address, parse_endpoint
from ..core.pacing import Backoff
from ..dialects.registry import find_dialect
from ..drivers.base import Connection
from .executor import BackgroundThread

if TYPE_CHECKING:
    from .cluster import Cluster

logger = logging.getLogger(__name__)

PROBE_TIMEOUT = 5.0
"""Seconds that a monitor's own connect, or one of its statements, may take."""

_HIGH_RATE_FOR = 30.0  # seconds for which probes keep the high refresh rate
_SLOWEST = 1.0  # seconds between the questions of a probe that has been at it for long


class MissingPattern(Exception):
    """HOST does not tell how the instances of the cluster are named."""


class TopologyMonitor:
    """Owns one cluster's topology connection.

    At rest it asks once in `topology_refresh_ms`, a reader if there is one: every instance answers, and a connection
    to a reader outlives the writer. When the writer is in doubt, each known instance (and HOST) gets a probe of its
    own, which asks every `cluster_topology_high_refresh_rate_ms` until one says of itself that it is the writer.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster: Cluster = weakref.proxy(cluster)
        self._rng = random.Random()
        self._begin()

    def _begin(self) -> None:
        self._connection: Connection | None = None
        self._asked: Address | None = None
        self._verifying = False
        self._probes: tuple[Probe, ...] = ()
        self._ending: tuple[Probe, ...] = ()  # told to stop; kept until they have closed their connections
        self._absent: dict[Address, Backoff] = {}
        self._thread = BackgroundThread(f"aurora-topology {self._cluster.key}", self, TopologyMonitor._turn)

    def wake(self) -> None:
        self._thread.wake()

    def verify(self) -> None:
        """Ask everybody who the writer is, until one says that it is."""
        self._verifying = True
        self._thread.wake()

    def release(self, timeout: float) -> None:
        self._thread.stop(timeout)
        self._stop_probes()
        self._disconnect()

    def after_fork(self) -> list[object]:
        inherited = [self._connection, *(probe.connection for probe in (*self._probes, *self._ending))]
        self._begin()
        return [connection for connection in inherited if connection is not None]

    def _turn(self) -> float | None:
        cluster = self._cluster
        if cluster.dialect is None:
            return self._meet()
        if not cluster.dialect.is_cluster:
            return None
        if self._verifying or self._probes or cluster.view.trusted_writer is None:
            return self._look_for_writer()
        self._refresh()
        return self._retry_absent()

    # -- the first meeting

    def _meet(self) -> float | None:
        """Find out what HOST is. Everybody who wants to connect waits for this one attempt."""
        cluster = self._cluster
        settings, links = cluster.settings, cluster.links
        link = links.topology
        connection = None
        try:
            connection = link.open(settings.seed, PROBE_TIMEOUT)
            asked_at = time.monotonic()
            dialect = find_dialect(settings.dialect, lambda sql: link.ask(connection, sql))
            if dialect.is_cluster and settings.pattern is None:
                raise MissingPattern(
                    f"{settings.seed.host} is part of a cluster ({dialect.name}), but its name does not tell how the "
                    "instances are named. Set OPTIONS['cluster_instance_host_pattern'], for example "
                    f"'?.{parse_endpoint(settings.seed.host).domain or 'abc123.eu-west-1.rds.amazonaws.com'}'."
                )
            seen = dialect.observe(lambda sql: link.ask(connection, sql), settings.seed, settings.pattern)
        except Exception as exc:
            link.close(connection)
            if not link.is_error(exc) and not isinstance(exc, MissingPattern):
                cluster.fail_to_start(links, exc)
                raise
            cluster.fail_to_start(links, exc)
            return None
        if dialect.is_cluster:
            self._connection, self._asked = connection, settings.seed
        else:
            link.close(connection)
        logger.info("%s: %s speaks %s", cluster.key, settings.seed, dialect.name)
        cluster.introduce(dialect, seen, asked_at)
        if not dialect.is_cluster:
            return None
        # HOST is the writer as a rule; the first turn at rest leaves it alone and goes to a reader.
        return 0.0 if cluster.view.live_readers else settings.refresh

    # -- at rest

    def _refresh(self) -> None:
        cluster = self._cluster
        for address in self._whom_to_ask():
            try:
                self._ask(address)
            except Exception as exc:
                self._disconnect()
                if not cluster.links.topology.is_error(exc):
                    raise
                cluster.suspect(address, str(exc))
            else:
                return
        self._verifying = True
        self._thread.wake()

    def _whom_to_ask(self) -> list[Address]:
        view = self._cluster.view
        readers = [i.address for i in view.live_readers]
        self._rng.shuffle(readers)
        if self._asked in readers:
            readers.remove(self._asked)
            readers.insert(0, self._asked)
        writer = view.topology.writer
        return [*readers, *((writer.address,) if writer is not None else ())]

    def _ask(self, address: Address) -> None:
        cluster = self._cluster
        assert cluster.dialect is not None
        if self._connection is None or self._asked != address:
            self._disconnect()
            self._connection = cluster.links.topology.open(address, PROBE_TIMEOUT)
            self._asked = address
        asked_at = time.monotonic()
        connection = self._connection
        seen = cluster.dialect.observe(
            lambda sql: cluster.links.topology.ask(connection, sql), address, cluster.settings.pattern
        )
        cluster.publish(seen, asked_at)

    def _retry_absent(self) -> float:
        """Try the readers that were set aside and are due; returns the seconds until there is something to do."""
        cluster = self._cluster
        self._absent = {a: self._absent.get(a, Backoff(1.0, 30.0)) for a in cluster.view.set_aside}
        for address, backoff in self._absent.items():
            if not backoff.is_due(time.monotonic()):
                continue
            try:
                cluster.links.topology.close(cluster.links.topology.open(address, PROBE_TIMEOUT))
            except Exception as exc:
                if not cluster.links.topology.is_error(exc):
                    raise
                self._absent[address] = backoff.failed(time.monotonic(), self._rng.random())
            else:
                cluster.restore(address)
        now = time.monotonic()
        waits = [b.due_at - now for a, b in self._absent.items() if a in cluster.view.set_aside]
        return max(0.0, min([cluster.settings.refresh, *waits]))

    def _disconnect(self) -> None:
        connection, self._connection, self._asked = self._connection, None, None
        self._cluster.links.topology.close(connection)

    # -- when the writer is in doubt

    def _look_for_writer(self) -> float:
        cluster = self._cluster
        self._verifying = False
        if cluster.view.trusted_writer is not None and self._probes:
            self._stop_probes()
            return 0.0
        if cluster.view.trusted_writer is None:
            self._disconnect()
            watched = {probe.address for probe in self._probes}
            targets = [i.address for i in cluster.view.topology.instances] + [cluster.settings.seed]
            self._probes += tuple(
                Probe(cluster, a, self._thread.wake, self._ask_at_once)
                for a in dict.fromkeys(targets)
                if a not in watched
            )
            return 1.0
        # Nobody doubts the writer, but a reader has named another one: its own word decides.
        claimed = [i.address for i in cluster.view.topology.readers]
        for address in claimed:
            try:
                self._ask(address)
            except Exception as exc:
                self._disconnect()
                if not cluster.links.topology.is_error(exc):
                    raise
        return cluster.settings.refresh

    def _ask_at_once(self, claimed: Address) -> None:
        """A reader has named a writer: if that is news, hear the writer's own word without waiting for its turn."""
        writer = self._cluster.view.topology.writer
        if writer is None or writer.address != claimed:
            for probe in self._probes:
                if probe.address == claimed:
                    probe.wake()

    def _stop_probes(self) -> None:
        for probe in self._probes:
            probe.stop()
        self._ending = tuple(probe for probe in (*self._ending, *self._probes) if probe.is_running)
        self._probes = ()


class Probe:
    """Asks one instance who the writer is, again and again, until it is told to stop."""

    def __init__(
        self,
        cluster: Cluster,
        address: Address,
        on_news: Callable[[], None],
        on_claim: Callable[[Address], None],
    ) -> None:
        self._cluster = cluster
        self.address = address
        self.connection: Connection | None = None
        self._on_news = on_news
        self._on_claim = on_claim
        self._stopped = False
        self._began = time.monotonic()
        self._rng = random.Random()
        self._thread = BackgroundThread(f"aurora-probe {address}", self, Probe._ask)
        self._thread.wake()

    @property
    def is_running(self) -> bool:
        return self._thread.is_running

    def wake(self) -> None:
        self._thread.wake()

    def stop(self) -> None:
        self._stopped = True
        self._thread.wake()

    def _ask(self) -> float | None:
        cluster = self._cluster
        link, dialect = cluster.links.topology, cluster.dialect
        assert dialect is not None
        if self._stopped:
            link.close(self.connection)
            self.connection = None
            return None
        try:
            if self.connection is None:
                self.connection = link.open(self.address, PROBE_TIMEOUT)
            asked_at = time.monotonic()
            connection = self.connection
            seen = dialect.observe(lambda sql: link.ask(connection, sql), self.address, cluster.settings.pattern)
        except Exception as exc:
            link.close(self.connection)
            self.connection = None
            if not link.is_error(exc):
                raise
        else:
            if not self._stopped:
                cluster.publish(seen, asked_at)
                if seen.is_from_writer:
                    self._on_news()
                elif (claimed := seen.claimed_writer) is not None:
                    self._on_claim(claimed.address)
        pause = cluster.settings.high_refresh * max(1.0, 5 * (time.monotonic() - self._began) / _HIGH_RATE_FOR - 4)
        return min(pause, max(_SLOWEST, cluster.settings.high_refresh)) * self._rng.uniform(0.5, 1.5)
