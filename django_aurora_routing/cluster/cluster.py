"""What a process knows of one cluster, shared by all its threads; one lock, and nothing slow done under it."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from dataclasses import astuple, dataclass, replace

from ..core.endpoints import Address, HostPattern
from ..core.failover import View
from ..core.topology import Observation, updated_topology
from ..dialects.base import Dialect
from .activity import Activity
from .host_monitor import HostMonitor
from .link import Links
from .topology_monitor import TopologyMonitor

logger = logging.getLogger(__name__)

MAX_CONNECTING = 16
"""How many connects one process has under way to one cluster at a time, so that a failover is no stampede."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """What a cluster is known by before anybody has connected. Times in seconds."""

    seed: Address
    pattern: HostPattern | None
    dialect: str | None
    refresh: float
    high_refresh: float
    detection_time: float
    detection_interval: float
    detection_count: int

    @property
    def monitoring(self) -> tuple[object, ...]:
        """All but the seed: what aliases of one cluster have to agree on."""
        return astuple(self)[1:]


class Cluster:
    """One cluster. `view` may be read by anybody at any time; it is replaced as a whole, never changed."""

    def __init__(self, key: str, settings: ClusterSettings, links: Links) -> None:
        self.key = key
        self.settings = settings
        self.links = links
        self.view = View()
        self.generation = 0
        self.dialect: Dialect | None = None
        self._failure: tuple[Links, BaseException] | None = None
        self.activities: weakref.WeakSet[Activity] = weakref.WeakSet()
        self.topology_monitor = TopologyMonitor(self)
        self.host_monitor = HostMonitor(self)
        self._make_locks()

    def __repr__(self) -> str:
        return f"<Cluster {self.key}: {self.view.topology}>"

    def _make_locks(self) -> None:
        self._changed = threading.Condition()
        self.gate = threading.BoundedSemaphore(MAX_CONNECTING)

    # -- learning

    def introduce(self, dialect: Dialect, seen: Observation, asked_at: float) -> None:
        """The first server has answered: now the kind of the cluster and its instances are known."""
        self.dialect = dialect
        self.publish(seen, asked_at)

    def publish(self, seen: Observation, asked_at: float) -> None:
        """Take in what a server said at `asked_at`."""
        with self._changed:
            old = self.view
            topology = updated_topology(old.topology, seen)
            confirmed_at = old.confirmed_at
            if seen.is_from_writer or not old.topology.instances:
                confirmed_at = max(confirmed_at, asked_at)
            moved = topology.generation != old.topology.generation
            set_aside = old.set_aside & {i.address for i in topology.instances}
            if moved and topology.writer is not None:
                set_aside -= {topology.writer.address}
            self._replace(replace(old, topology=topology, confirmed_at=confirmed_at, set_aside=set_aside), moved)
        if moved:
            logger.info("%s: topology is now: %s", self.key, topology)
        claimed, known = seen.claimed_writer, topology.writer
        if claimed is not None and (known is None or claimed.id != known.id):
            logger.debug("%s: %s says that %s is the writer; asking it", self.key, seen.server_id, claimed.id)
            self.topology_monitor.verify()

    def fail_to_start(self, links: Links, failure: BaseException) -> None:
        """Nobody could be asked what the cluster is; those who wait, with the same credentials, get this error."""
        with self._changed:
            self._failure = (links, failure)
            self._replace(self.view, False)

    def suspect(self, address: Address, reason: str) -> None:
        """An instance failed somebody: a writer has to confirm itself, a reader is set aside until reached again."""
        now = time.monotonic()
        with self._changed:
            old = self.view
            writer = old.topology.writer
            is_writer = writer is not None and writer.address == address
            if is_writer:
                self._replace(replace(old, suspected_at=now), False)
            elif old.topology.at(address) is not None and address not in old.set_aside:
                self._replace(replace(old, set_aside=old.set_aside | {address}), True)
            else:
                return
        logger.info("%s: %s failed (%s)", self.key, address, reason)
        if is_writer:
            self.topology_monitor.verify()
        else:
            self.topology_monitor.wake()

    def restore(self, address: Address) -> None:
        """A reader that was set aside has been reached again."""
        with self._changed:
            old = self.view
            if address not in old.set_aside:
                return
            self._replace(replace(old, set_aside=old.set_aside - {address}), True)
        logger.info("%s: %s answers again", self.key, address)

    def _replace(self, view: View, moved: bool) -> None:
        """Hold the lock. Publish a new view and tell those who wait."""
        self.generation += moved
        self.view = replace(view, version=view.version + 1, generation=self.generation)
        self._changed.notify_all()

    # -- waiting

    def wait_for_news(self, version: int, until: float) -> None:
        """Return when the view is newer than `version`, at the latest at `until` (`time.monotonic()`)."""
        with self._changed:
            self._changed.wait_for(lambda: self.view.version != version, max(0.0, until - time.monotonic()))

    def ensure_known(self, links: Links, until: float) -> BaseException | None:
        """Wait until the cluster has been met. Returns what prevented it, or None.

        All who come while one attempt to meet it is under way share its outcome, unless it was made with the
        credentials of another alias and failed.
        """
        while not self.is_met():
            self._begin_to_meet(links)
            self.topology_monitor.wake()
            with self._changed:
                self._changed.wait_for(self._is_met_or_failed, max(0.0, until - time.monotonic()))
                outcome = self._failure
            if outcome is not None and outcome[0] == links:
                return outcome[1]
            if time.monotonic() >= until and not self.is_met():
                return TimeoutError(f"no answer from {self.settings.seed} in time")
        return None

    def _begin_to_meet(self, links: Links) -> None:
        with self._changed:
            self.links, self._failure = links, None

    def is_met(self) -> bool:
        return self.dialect is not None

    def _is_met_or_failed(self) -> bool:
        return self.is_met() or self._failure is not None

    # -- ending

    def release(self, timeout: float) -> None:
        """Stop the monitors and close their connections; the next connection starts them again."""
        self.topology_monitor.release(timeout)
        self.host_monitor.release(timeout)

    def after_fork(self) -> list[object]:
        """In a forked child: keep what is known, drop all that belongs to the parent.

        Returns the parent's connections; they must neither be used nor closed here, since closing one says goodbye
        to the server in the parent's name.
        """
        self._make_locks()
        inherited = [*self.topology_monitor.after_fork(), *self.host_monitor.after_fork()]
        for activity in list(self.activities):
            activity.inherited = True
            if activity.connection is not None:
                inherited.append(activity.connection)
        self.generation += 1  # makes each connection look at itself before its next use
        self.view = replace(self.view, generation=self.generation)
        return inherited
