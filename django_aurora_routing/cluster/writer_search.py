"""Finds out who the writer is when that is in doubt: one probe for each instance, until one says that it is.

At rest the same probes ask each instance once in a while, where it alone knows about itself.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING

from ..core.endpoints import Address
from ..core.failures import Failure
from ..core.pacing import Backoff, in_between
from ..drivers.base import Connection
from .executor import BackgroundThread

if TYPE_CHECKING:
    from .cluster import Cluster

logger = logging.getLogger(__name__)

_HIGH_RATE_FOR = 30.0  # seconds for which probes keep `cluster_topology_high_refresh_rate_ms`
_SLOWEST = 1.0  # seconds between the questions of a probe that has been at it for long


class WriterSearch:
    """Owns the probes. There is nothing to end: a probe ends by itself once the writer is known."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster: Cluster = weakref.proxy(cluster)
        self.after_fork()

    def after_fork(self) -> list[Connection]:
        inherited = [probe.connection for probe in getattr(self, "_probes", {}).values()]
        self._lock = threading.Lock()
        self._probes: dict[Address, Probe] = {}
        self._heard_at: dict[Address, float] = {}
        return [connection for connection in inherited if connection is not None]

    def begin(self) -> None:
        """Ask all instances, and HOST and `hosts`, which may lead to one that is not known yet."""
        for address in self._everyone():
            self._probe(address).wake()

    def ask_others(self, asked: Address | None) -> list[Probe]:
        """Ask all but that one once, each in a thread of its own: one that is silent keeps nobody waiting.

        Those that are set aside are asked by whoever looks after them.
        """
        set_aside = self._cluster.view.set_aside
        probes = [self._probe(address) for address in self._everyone() if address not in {asked, *set_aside}]
        for probe in probes:
            probe.ask_at_once()
        return probes

    def ask_all(self, until: float) -> None:
        """Ask all; returns when everybody has answered or failed, at the latest at `until` (`time.monotonic()`)."""
        for probe in self.ask_others(None):
            probe.wait(until)

    def _everyone(self) -> list[Address]:
        cluster = self._cluster
        instances = filter(cluster.settings.reaches, cluster.view.topology.instances)
        return list(dict.fromkeys([*(i.address for i in instances), *cluster.settings.names]))

    def hear(self, claimed: Address) -> None:
        """A reader has named another writer than the known one: let that instance speak for itself.

        Where it cannot be reached, `claimed` is the known one. While the writer is trusted, once in
        `topology_refresh_ms` for each claim: readers may hold on to old news.
        """
        cluster, now = self._cluster, time.monotonic()
        if cluster.view.trusted_writer is not None:
            with self._lock:
                if now - self._heard_at.get(claimed, float("-inf")) < cluster.settings.refresh:
                    return
                self._heard_at[claimed] = now
        self._probe(claimed).ask_at_once()

    def asks_besides(self, probe: Probe) -> list[float]:
        """When the others ask next, of those that are connected."""
        others = tuple(self._probes.values())
        return [other.next_at for other in others if other is not probe and other.connection is not None]

    def stop(self, until: float) -> None:
        for probe in tuple(self._probes.values()):
            probe.stop(until)

    def _probe(self, address: Address) -> Probe:
        with self._lock:
            if (probe := self._probes.get(address)) is None:
                probe = self._probes[address] = Probe(self._cluster, address)
            return probe


class Probe:
    """Asks one instance who the writer is, again and again, as long as nobody is known to be."""

    def __init__(self, cluster: Cluster, address: Address) -> None:
        self._cluster = cluster
        self._address = address
        self.connection: Connection | None = None
        self._rng = random.Random()
        self._at_once = False
        self._heard = threading.Event()
        self._begin()
        self._thread = BackgroundThread(f"aurora-probe {address}", self, Probe._turn, Probe._disconnect)

    def _begin(self) -> None:
        self._began = time.monotonic()
        self.next_at = self._began
        self._refused = Backoff(1.0, 30.0)

    def wake(self) -> None:
        if not self._thread.is_running:
            self._begin()
        self._thread.wake()

    def ask_at_once(self) -> None:
        self._heard.clear()
        self._at_once = True
        self.wake()

    def wait(self, until: float) -> None:
        """Return when it has asked, at the latest at `until`."""
        if self._thread.is_running:
            self._heard.wait(max(0.0, until - time.monotonic()))

    def stop(self, until: float) -> None:
        self._thread.stop(until - time.monotonic())

    def _turn(self) -> float | None:
        at_once, self._at_once = self._at_once, False
        cluster = self._cluster
        if cluster.view.trusted_writer is not None and not at_once:
            # Not to connect anew for each of many questions, that are asked while somebody waits for this.
            return cluster.settings.high_refresh if cluster.topology_monitor.is_hurried else None
        now = time.monotonic()
        if now < self.next_at and not at_once:
            return self.next_at - now  # whoever woke it up may not make it ask faster
        try:
            pause = self._ask()
        finally:
            self._heard.set()
        self.next_at = time.monotonic() + pause
        return pause

    def _ask(self) -> float:
        """Ask once; returns the seconds until the next question."""
        cluster = self._cluster
        links, dialect = cluster.links, cluster.dialect
        assert dialect is not None
        link = links.topology
        try:
            if self.connection is None:
                self.connection = link.open(self._address, cluster.settings.probe_timeout)
            asked_at, connection = time.monotonic(), self.connection
            seen = dialect.observe(lambda sql: link.ask(connection, sql), self._address, cluster.settings.pattern)
        except Exception as exc:
            self._disconnect()
            failure = link.failure(exc)
            if failure is None:
                raise
            cluster.note_problem(self._address, exc)
            if failure in (Failure.UNREACHABLE, Failure.LOST):
                cluster.miss(self._address)
                if dialect.asks_everyone and cluster.view.trusted_writer is not None:
                    cluster.suspect(self._address, str(exc))
            if failure is Failure.REFUSED:
                cluster.refuse_links(links)
                self._refused = self._refused.failed(time.monotonic(), self._rng.random())
                return max(0.0, self._refused.due_at - time.monotonic())
        else:
            cluster.publish(seen, asked_at, self._address)
        rate = cluster.settings.high_refresh
        if self.connection is None:
            rate = max(rate, cluster.settings.reconnect_interval)  # on an open connection it asks more often
        pause = rate * max(1.0, 5 * (time.monotonic() - self._began) / _HIGH_RATE_FOR - 4)
        pause = min(pause, max(_SLOWEST, rate))
        if self.connection is None:
            return pause * self._rng.uniform(0.5, 1.5)
        now = time.monotonic()
        return in_between(now, pause, cluster.writer_search.asks_besides(self), self._rng) - now

    def _disconnect(self) -> None:
        connection, self.connection = self.connection, None
        self._cluster.links.topology.close(connection)
