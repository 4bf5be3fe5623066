"""Sends the signals of what has changed: in their order, from one thread a process, which ends when all is sent."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from .. import signals
from ..core.failover import View
from ..core.news import (
    Doubt,
    Event,
    FailoverCompleted,
    FailoverStarted,
    ReaderRestored,
    ReaderSetAside,
    TopologyChanged,
    events,
)
from ..core.snapshot import ClusterSnapshot, snapshot
from ..forks import in_each_child
from .executor import BackgroundThread

LONGEST = 1000
"""How many changes wait while a receiver takes its time; the oldest are dropped then."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a cluster's view. `reason` is what made somebody doubt an instance, if that was it."""

    name: str
    kind: str
    before: View
    after: View
    doubt: Doubt | None
    reason: str


class Outbox:
    """Whoever changes a view puts that in under the lock, which keeps the order, and wakes the thread afterwards."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """In a forked child: what the parent has not sent yet is the parent's."""
        self._changes: deque[Change] = deque(maxlen=LONGEST)
        self._thread = BackgroundThread("aurora-signals", self, Outbox._turn)

    def put(self, change: Change) -> None:
        """Returns at once; nothing is called, and nothing kept while nobody listens."""
        if signals.has_receivers():
            self._changes.append(change)

    def wake(self) -> None:
        if self._changes:
            self._thread.wake()

    def _turn(self) -> None:
        while self._changes:
            change = self._changes.popleft()
            cluster = snapshot(change.name, change.kind, change.after, time.monotonic())
            for event in events(change.before, change.after, change.doubt):
                _send(event, cluster, change.reason)


def _send(event: Event, cluster: ClusterSnapshot, reason: str) -> None:
    match event:
        case TopologyChanged(changes):
            signals.deliver(signals.topology_changed, cluster, changes=changes)
        case FailoverStarted(writer):
            signals.deliver(signals.failover_started, cluster, writer=writer, reason=reason)
        case FailoverCompleted(writer, old_writer, seconds):
            named = {"writer": writer, "old_writer": old_writer, "seconds": seconds}
            signals.deliver(signals.failover_completed, cluster, **named)
        case ReaderSetAside(instance):
            signals.deliver(signals.reader_set_aside, cluster, instance=instance, reason=reason)
        case ReaderRestored(instance):
            signals.deliver(signals.reader_restored, cluster, instance=instance)


OUTBOX = Outbox()
in_each_child(OUTBOX.after_fork)
