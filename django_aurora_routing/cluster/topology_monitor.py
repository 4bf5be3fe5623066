"""Meets a cluster, and keeps its view up to date while all is well: one thread and one connection."""

from __future__ import annotations

import logging
import random
import time
import weakref
from typing import TYPE_CHECKING

from ..core.asking import in_order
from ..core.endpoints import Address
from ..core.failures import Failure
from ..drivers.base import Connection
from .balance import AGAIN
from .executor import BackgroundThread
from .meeting import Meeting, Met, MissingSetting

if TYPE_CHECKING:
    from .cluster import Cluster

logger = logging.getLogger(__name__)


_WHILE_SEARCHING = 1.0  # seconds between looks at whether the search for a writer goes on
_HURRY_FOR = 0.5  # seconds that one call of `hurry` lasts


class TopologyMonitor:
    """Asks once in `topology_refresh_ms`: a reader if there is one, unless the options say otherwise. Also tries the
    readers that were set aside, until they answer. Where each instance has to be asked, the probes ask the others at
    the same time, over connections that are closed again.

    While somebody waits for readers to catch up, it asks at `cluster_topology_high_refresh_rate_ms`.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster: Cluster = weakref.proxy(cluster)
        self._connection: Connection | None = None
        self.after_fork()

    def after_fork(self) -> list[Connection]:
        inherited, self._connection = self._connection, None
        self._rng = random.Random()
        self._asked: Address | None = None
        self._absences = self._cluster.settings.absences
        self._hurry_until = self._next_round_at = float("-inf")
        self._thread = BackgroundThread(
            f"aurora-topology {self._cluster.key}", self, TopologyMonitor._turn, TopologyMonitor._disconnect
        )
        return [] if inherited is None else [inherited]

    def wake(self) -> None:
        self._thread.wake()

    def start(self) -> None:
        """Go on after a fork, a `stop()`, or a time without use; nobody is asked sooner for it while it is running."""
        self._thread.start()

    def hurry(self) -> None:
        """Ask at the high rate for half a second more. Returns at once; however many call it, the rate is the same."""
        now = time.monotonic()
        is_at_rest, self._hurry_until = now >= self._hurry_until, now + _HURRY_FOR
        if is_at_rest:
            self.wake()

    @property
    def is_hurried(self) -> bool:
        return time.monotonic() < self._hurry_until

    @property
    def is_running(self) -> bool:
        return self._thread.is_running

    def meet_here(self) -> None:
        """Meet the cluster in the calling thread."""
        self._meet()
        self._disconnect()

    def stop(self, until: float) -> None:
        self._thread.stop(until - time.monotonic())

    def _turn(self) -> float | None:
        cluster = self._cluster
        if cluster.dialect is None:
            return self._meet()
        if not cluster.dialect.is_cluster or cluster.is_idle():
            return None
        if (writer := cluster.view.trusted_writer) is None:
            # The probes ask everybody; whoever waits for them wakes this thread at each piece of news.
            cluster.writer_search.begin()
            return min(_WHILE_SEARCHING, self._retry_absent())
        self._refresh()
        if cluster.dialect.asks_everyone and (self.is_hurried or time.monotonic() >= self._next_round_at):
            self._next_round_at = time.monotonic() + cluster.settings.refresh / 2  # whoever has woken this thread
            cluster.writer_search.ask_others(self._asked)
        pause = min(self._retry_absent(), cluster.response_times.measure())
        if cluster.balance.look():
            pause = min(pause, AGAIN)
        if not cluster.settings.reaches(writer):
            pause = min(pause, _WHILE_SEARCHING)  # it tells nobody here when it is none any more
        return min(pause, cluster.settings.high_refresh) if self.is_hurried else pause

    def _meet(self) -> float | None:
        """Find out what HOST is. Everybody who wants to connect waits for this one attempt."""
        cluster = self._cluster
        settings, links = cluster.settings, cluster.links
        met = Meeting(settings, links).hold()
        if not isinstance(met, Met):
            cluster.fail_to_start(links, met)
            if links.topology.failure(met) is None and not isinstance(met, MissingSetting):
                raise met
            return None
        if met.dialect.is_cluster:
            self._connection, self._asked = met.connection, met.address
        else:
            links.topology.close(met.connection)
        logger.info("%s: %s speaks %s", cluster.key, met.address, met.dialect.name)
        cluster.introduce(met)
        self._next_round_at = time.monotonic() + settings.refresh / 2
        if not met.dialect.is_cluster:
            return None
        # HOST is the writer as a rule; the first turn at rest leaves it alone and goes to a reader.
        return 0.0 if cluster.view.live_readers else settings.refresh

    def _refresh(self) -> None:
        cluster = self._cluster
        for address in self._whom_to_ask():
            links = cluster.links
            try:
                has_news = self._ask(address)
            except Exception as exc:
                self._disconnect()
                failure = links.topology.failure(exc)
                if failure is None:
                    raise
                cluster.note_problem(address, exc)
                if failure in (Failure.REFUSED, Failure.BUSY, Failure.NO_CREDENTIALS):
                    # It is alive, or was not asked. Credentials that are refused here would be by the others as well.
                    if failure is Failure.REFUSED:
                        cluster.refuse_links(links)
                    return
                cluster.suspect(address, str(exc))
            else:
                if has_news:
                    return
                self._disconnect()  # it is cut off from the others, or not ready yet

    def _whom_to_ask(self) -> list[Address]:
        view, settings = self._cluster.view, self._cluster.settings
        readers = [*view.live_readers]
        self._rng.shuffle(readers)
        writer = view.trusted_writer
        instances = [i for i in (*readers, *((writer,) if writer is not None else ())) if settings.reaches(i)]
        instances.sort(key=lambda i: i.address != self._asked)  # a connection that is there first
        primary = view.topology.primary_region
        return in_order(settings.priority_in(primary), instances, primary)

    def _ask(self, address: Address) -> bool:
        """Ask and publish; whether the answer says anything of the cluster."""
        cluster = self._cluster
        link = cluster.links.topology
        assert cluster.dialect is not None
        if self._connection is None or self._asked != address:
            self._disconnect()
            self._connection, self._asked = link.open(address, cluster.settings.probe_timeout), address
        asked_at, connection = time.monotonic(), self._connection
        seen = cluster.dialect.observe(lambda sql: link.ask(connection, sql), address, cluster.settings.pattern)
        cluster.publish(seen, asked_at, address)
        return bool(seen.instances) or seen.is_alone

    def _retry_absent(self) -> float:
        """Try the readers that were set aside and are due; returns the seconds until there is something to do."""
        cluster = self._cluster
        link = cluster.links.topology
        self._absences = self._absences.updated(cluster.view.set_aside, time.monotonic(), self._rng.random())
        for address in self._absences.due(time.monotonic()):
            try:
                self._look_in(address)
            except Exception as exc:
                if link.failure(exc) is None:
                    raise
                self._absences = self._absences.failed(address, time.monotonic(), self._rng.random())
            else:
                self._absences = self._absences.returned(address, time.monotonic())
                cluster.restore(address)
        return max(0.0, min(cluster.settings.refresh, self._absences.next_at() - time.monotonic()))

    def _look_in(self, address: Address) -> None:
        """Connect; where each instance tells of itself, it has to, before it counts as what it was."""
        cluster = self._cluster
        link, dialect = cluster.links.topology, cluster.dialect
        assert dialect is not None
        connection = link.open(address, cluster.settings.probe_timeout)
        try:
            if dialect.asks_everyone:
                asked_at = time.monotonic()
                seen = dialect.observe(lambda sql: link.ask(connection, sql), address, cluster.settings.pattern)
                cluster.publish(seen, asked_at, address)
        finally:
            link.close(connection)

    def _disconnect(self) -> None:
        connection, self._connection, self._asked = self._connection, None, None
        self._cluster.links.topology.close(connection)
