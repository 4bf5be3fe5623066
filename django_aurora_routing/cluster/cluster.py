"""What a process knows of one cluster, shared by all its threads; one lock, and nothing slow done under it."""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ..core.endpoints import Address
from ..core.failover import View
from ..core.news import Doubt, changes, doubt_after
from ..core.regions import has_to_be_believed
from ..core.selection import Facts, Weights
from ..core.snapshot import ClusterSnapshot, snapshot
from ..core.topology import Observation, updated_topology
from ..core.zones import with_zones
from ..dialects.base import Dialect
from .activity import Activity
from .balance import Balance
from .custom_endpoints import MemberLists
from .gate import Gate
from .host_monitor import HostMonitor
from .link import Links
from .meeting import Met
from .news import News, Waiting
from .outbox import OUTBOX, Change
from .remarks import Remarks
from .response_times import ResponseTimes
from .settings import ClusterSettings
from .strangers import Strangers
from .topology_monitor import TopologyMonitor
from .writer_search import WriterSearch
from .zones import Zones

logger = logging.getLogger(__name__)

MOST_TURNS = 1000
"""Aliases whose turns are remembered: dynamic ones come and go, and a round that begins anew is no harm."""
FIRST_ROUND = 0.5
"""Seconds that the first meeting waits for all instances, where each has to be asked."""


class Cluster:
    """One cluster. `view` may be read by anybody at any time; it is replaced as a whole, never changed."""

    def __init__(self, key: str, settings: ClusterSettings, links: Links, *, cluster_id: str | None = None) -> None:
        """`cluster_id` is what the user calls it; `key`, which logs show, is that or what HOST says."""
        self.key = key
        self.cluster_id = cluster_id
        self.is_settled = False  # whether it has been compared with the others that are known; see `registry`
        self.settings = settings
        self.links = links
        self.view = View(listed=len(settings.hosts) if settings.lists_instances else 0)
        self.generation = 0
        self.dialect: Dialect | None = None
        self.failures: collections.Counter[Address] = collections.Counter()
        """How often each instance has failed somebody: a session that was idle then is not to be trusted."""
        self._failure: tuple[Links, BaseException] | None = None
        self._refused: Links | None = None
        self._problem = ""
        self._doubt: Doubt | None = None
        self._strangers = Strangers(key)
        self._remarks = Remarks(key)
        self._is_met = False
        self._activities: weakref.WeakSet[Activity] = weakref.WeakSet()
        self.used_at = time.monotonic()
        self._turns: dict[str, Iterator[int]] = {}
        self._make_locks()
        self.response_times = ResponseTimes(self)
        self.balance = Balance(self)
        self.zones = Zones(self)
        self.member_lists = MemberLists(self)
        self.topology_monitor = TopologyMonitor(self)
        self.writer_search = WriterSearch(self)
        self.host_monitor = HostMonitor(self)

    def __repr__(self) -> str:
        return f"<Cluster {self.key}: {self.view.topology}>"

    def _make_locks(self) -> None:
        lock = threading.RLock()
        self._changed, self.news = threading.Condition(lock), News(lock)
        self.gate = Gate()
        self.choosing = threading.RLock()

    # -- users

    def watch(self, activity: Activity) -> None:
        """A connection of this cluster is in use; the monitors go on while there is one."""
        with self._changed:
            self._activities.add(activity)
            self.touch()
        self.go_on()

    def go_on(self) -> None:
        """Have its topology monitor run, which may have been left in a parent process, released, or without use."""
        if self.is_made_of_instances:
            self.topology_monitor.start()

    def touch(self) -> None:
        """Somebody uses it, or is about to."""
        self.used_at = time.monotonic()

    def watched(self) -> tuple[Activity, ...]:
        with self._changed:
            return tuple(self._activities)

    def facts(self, weights: Weights) -> Facts:
        """What is known here besides the topology, for who chooses a reader; hold `choosing` until it is chosen."""
        places = (activity.counts_for for activity in self.watched())
        return Facts(Counter(place for place in places if place is not None), self.response_times.known, weights)

    def turn(self, alias: str) -> int:
        """How many connections an alias has had here. Begins by chance: the first ones of all processes are many."""
        if (turns := self._turns.get(alias)) is None:
            if len(self._turns) >= MOST_TURNS:
                self._turns = {}
            turns = self._turns.setdefault(alias, itertools.count(random.randrange(1 << 16)))
        return next(turns)

    def is_idle(self) -> bool:
        """Whether nobody has used it for `monitor_disposal_time_ms`, and nobody could without connecting anew."""
        with self._changed:
            return not self._activities and time.monotonic() - self.used_at > self.settings.disposal

    def offer(self, links: Links, *, known_to_work: bool) -> None:
        """Let the monitors use these credentials: they have just worked, or the monitors' own were refused."""
        if known_to_work or self._refused is self.links:
            self.links = links

    def refuse_links(self, links: Links) -> None:
        """The monitors' credentials were refused; who waits for them may offer his own."""
        with self._changing():
            self._refused = links
            self._replace(self.view, False)

    def note_problem(self, address: Address, error: BaseException) -> None:
        """Remember the last trouble that a monitor had, for the message of a search that ends without a find."""
        self._problem = f"{address}: {error}"

    def miss(self, address: Address) -> None:
        """A monitor could not reach an instance. Of the writer, that is more than a failure that somebody else met."""
        with self._changed:
            writer = self.view.topology.writer
            if writer is not None and writer.address == address:
                self.view = replace(self.view, missed_at=time.monotonic())

    @property
    def problem(self) -> str:
        return self._problem

    # -- learning

    def introduce(self, met: Met) -> None:
        """The first server has answered: now the kind of the cluster and its instances are known.

        Where each has to be asked for what it alone knows, the others are, before anybody connects; one that does not
        answer is not waited for.
        """
        self.dialect = met.dialect
        self.settings = replace(self.settings, pattern=met.pattern)
        self.publish(met.seen, met.asked_at, met.address)
        if met.dialect.asks_everyone:
            self.writer_search.ask_all(time.monotonic() + FIRST_ROUND)
        with self._changing():
            self._is_met = True
            self._replace(self.view, False)

    def publish(self, seen: Observation, asked_at: float, asked: Address) -> None:
        """Take in what the server that `asked` leads to said at `asked_at`."""
        is_named = asked in self.settings.names
        if problem := self._strangers.look(self.view.topology, seen, asked_at, asked, is_named=is_named):
            self._problem = problem
            return
        with self._changing():
            old, reaches = self.view, self.settings.reaches
            known, is_trusted = old.topology, old.trusted_writer is not None
            if has_to_be_believed(seen, known, is_trusted=is_trusted, accessible=self.settings.accessible):
                known = replace(known, instances=())  # as at the first meeting
            # Of a server that has several, HOST is the last: it may be a name that leads to whoever is the writer.
            names = (*self.settings.hosts, self.settings.seed)
            confirmed_at = old.confirmed_at
            topology = updated_topology(known, seen, asked_at, names=names, trust=old.trust, confirmed_at=confirmed_at)
            topology = with_zones(topology, self.zones.known)
            claimed, writer = seen.claimed_writer, topology.writer
            is_agreed = claimed is not None and writer is not None and claimed.id == writer.id
            if topology.is_word_of_the_writer(seen) or (is_agreed and writer is not None and not reaches(writer)):
                confirmed_at = max(confirmed_at, asked_at)
            elif not old.topology.instances:
                confirmed_at = 0.0  # hearsay: enough to try that instance, not enough to trust it unasked
            moved = topology.generation != old.topology.generation
            set_aside = old.set_aside & {i.address for i in topology.instances}
            if moved and topology.writer is not None:
                before = old.topology.writer
                if before is not None and old.trusted_writer is None and topology.at(before.address) is not None:
                    set_aside |= {before.address}  # it failed as the writer: it has to answer before it is a reader
                set_aside -= {topology.writer.address}
            view = replace(old, topology=topology, confirmed_at=confirmed_at, set_aside=set_aside)
            doubt_has_ended = old.trusted_writer is None and view.trusted_writer is not None
            if moved or doubt_has_ended or set_aside != old.set_aside:
                self._replace(view, moved)
            else:
                self.view = view  # nothing that anybody waits for; in an outage the readers say so all the time
        if moved:
            logger.info("%s: %s. Topology is now: %s", self.key, changes(old.topology, topology), topology)
            self.zones.look()
        self._remarks.look(seen, old.topology, topology)
        if set_aside - old.set_aside:
            self.topology_monitor.wake()
        if claimed is not None and not seen.is_alone and not is_agreed:
            logger.debug("%s: %s says that %s is the writer", self.key, seen.server_id, claimed.id)
            # Who cannot be asked is not; the one that is thought to be the writer knows whether it still is.
            if (whom := claimed if reaches(claimed) else writer) is not None and reaches(whom):
                self.writer_search.hear(whom.address)

    def note_zones(self) -> None:
        """The zones of some instances are known now: who is not in his own may move."""
        with self._changing():
            self.view = replace(self.view, topology=with_zones(self.view.topology, self.zones.known))
        self.topology_monitor.wake()

    def request_newer(self) -> None:
        """Have the topology refreshed soon and for a while, for somebody who waits for readers to catch up."""
        if self.dialect is not None and self.dialect.is_cluster:
            self.topology_monitor.hurry()

    def fail_to_start(self, links: Links, failure: BaseException) -> None:
        """Nobody could be asked what the cluster is; those who wait, with the same credentials, get this error."""
        with self._changing():
            self._failure = (links, failure)
            self._replace(self.view, False)

    def suspect(self, address: Address, reason: str) -> None:
        """An instance failed somebody: a writer has to confirm itself, a reader is set aside until reached again."""
        now = time.monotonic()
        with self._changing(reason):
            old = self.view
            self.failures[address] += 1
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
            self.writer_search.begin()
        else:
            self.topology_monitor.wake()

    def restore(self, address: Address) -> None:
        """A reader that was set aside has been reached again."""
        with self._changing():
            old = self.view
            if address not in old.set_aside:
                return
            self._replace(replace(old, set_aside=old.set_aside - {address}), True)
        logger.info("%s: %s answers again", self.key, address)

    def reconsider(self) -> None:
        """Have each connection look at itself once, at its next safe point: there may be a better place for it."""
        with self._changing():
            self._replace(self.view, True)

    @contextlib.contextmanager
    def _changing(self, reason: str = "") -> Iterator[None]:
        """Hold the lock for the block. Who waits at the gate hears of a new view afterwards, when it is let go.

        So do those who listen to signals, of a cluster that is settled; `reason` is told to them.
        """
        with self._changed:
            before = self.view
            yield
            is_new = self.view.version != before.version
            if is_new and self.is_settled:
                self._put_out(before, reason)
        if is_new:
            self.gate.look_again()
            OUTBOX.wake()

    def _put_out(self, before: View, reason: str) -> None:
        """Hold the lock."""
        doubt = self._doubt
        self._doubt = doubt_after(doubt, before, self.view, time.monotonic())
        assert self.dialect is not None
        OUTBOX.put(Change(self.key, self.dialect.name, before, self.view, doubt, reason))

    def settle(self) -> None:
        """It is known to be no other's: from now on its changes are told, after what has become known before."""
        with self._changed:
            if not self.is_settled:
                self.is_settled = True
                self._put_out(View(), "")

    def snapshot(self) -> ClusterSnapshot | None:
        """What is known of it now; None before it has been met."""
        return None if self.dialect is None else snapshot(self.key, self.dialect.name, self.view, time.monotonic())

    def _replace(self, view: View, moved: bool) -> None:
        """In `_changing()`. Publish a new view and tell those who wait."""
        self.generation += moved
        self.view = replace(view, version=view.version + 1, generation=self.generation)
        self._changed.notify_all()
        self.news.tell()

    # -- waiting

    def is_at(self, version: int) -> bool:
        """Whether the view is still that one."""
        return self.view.version == version

    def wait_for_news(self, version: int, until: float, waiting: Waiting | None = None) -> None:
        """Return when the view is newer than `version`, at the latest at `until` (`time.monotonic()`)."""
        (waiting or self.news).wait(lambda: not self.is_at(version), until)

    def ensure_known(self, links: Links, until: float) -> BaseException | None:
        """Wait until the cluster has been met. Returns what prevented it, or None.

        All who come while one attempt to meet it is under way share its outcome, unless it was made with the
        credentials of another alias and failed.
        """
        while not self.is_met():
            self._begin_to_meet(links)
            self.topology_monitor.wake()
            if not (self.topology_monitor.is_running or self._is_met_or_failed()):
                self.topology_monitor.meet_here()  # there is no thread to be had: the interpreter is about to end
            with self._changed:
                self._changed.wait_for(self._is_met_or_failed, max(0.0, until - time.monotonic()))
                outcome = self._failure
            if outcome is not None and outcome[0] == links:
                return outcome[1]
            if time.monotonic() >= until and not self.is_met():
                names = ", ".join(map(str, self.settings.names))
                return TimeoutError(f"no answer from {names} in time")
        return None

    def _begin_to_meet(self, links: Links) -> None:
        with self._changed:
            self.links, self._failure = links, None

    def is_met(self) -> bool:
        return self._is_met

    @property
    def is_made_of_instances(self) -> bool:
        """Whether there is more than one server to choose from, as far as is known; there may be one now."""
        return self.dialect is not None and self.dialect.is_cluster

    def _is_met_or_failed(self) -> bool:
        return self.is_met() or self._failure is not None

    # -- ending

    def release(self, until: float) -> None:
        """Stop the monitors, which then close their connections; the next use of a connection starts them again.

        Waits for their end at most until then (`time.monotonic()`).
        """
        self.reconsider()
        self.topology_monitor.stop(until)
        self.writer_search.stop(until)
        self.host_monitor.stop(until)
        self.zones.stop(until)
        self.member_lists.stop(until)

    def after_fork(self) -> None:
        """In a forked child: keep what is known, drop all that belongs to the parent.

        The parent's sessions are cut off here without a word to the server: to close one says goodbye in the parent's
        name.
        """
        self._make_locks()
        inherited = [*self.topology_monitor.after_fork(), *self.writer_search.after_fork()]
        self.host_monitor.after_fork()
        self.member_lists.after_fork()
        self.balance.after_fork()
        self._turns = {}
        self.zones.after_fork()
        for activity in self.watched():
            activity.inherited = True
            if activity.connection is not None:
                inherited.append(activity.connection)
        # Each is watched again with its next connection. Those of other threads have none, and be it that they were
        # connecting or in the middle of a statement: the marks of that would stay for ever.
        self._activities = weakref.WeakSet()
        for connection in inherited:
            self.links.topology.driver.abort(connection, only_here=True)
        self.generation += 1  # makes each connection look at itself before its next use
        self.view = replace(self.view, generation=self.generation)
