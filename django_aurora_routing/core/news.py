"""What has changed from one view of a cluster to the next: in words for logs, and as events; sends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .failover import View
from .topology import Instance, Topology


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different in a topology. `moved` have another address than before; `lost` was the writer before."""

    added: tuple[Instance, ...] = ()
    removed: tuple[Instance, ...] = ()
    moved: tuple[Instance, ...] = ()
    promoted: Instance | None = None
    lost: Instance | None = None

    def __str__(self) -> str:
        words = []
        if self.promoted is not None:
            before = "" if self.lost is None else f", {self.lost.id} was"
            words.append(f"{self.promoted.id} is the writer now{before}")
        elif self.lost is not None:
            words.append(f"{self.lost.id} is not the writer any more, and nobody else is known to be")
        words += [f"{instance.id} ({instance.role.value}) was added" for instance in self.added]
        words += [f"{instance.id} has left" for instance in self.removed]
        words += [f"{instance.id} is at {instance.address} now" for instance in self.moved]
        return "; ".join(words) or "nothing has changed"


def changes(before: Topology, after: Topology) -> Changes:
    """What is different; lag and load do not count."""
    known, told = ({instance.id: instance for instance in topology.instances} for topology in (before, after))
    lost = before.writer
    is_same = lost is after.writer or (lost is not None and after.writer is not None and lost.id == after.writer.id)
    return Changes(
        added=tuple(instance for instance in after.instances if instance.id not in known),
        removed=tuple(instance for instance in before.instances if instance.id not in told),
        moved=tuple(i for i in after.instances if i.id in known and known[i.id].address != i.address),
        promoted=None if is_same else after.writer,
        lost=None if is_same else lost,
    )


@dataclass(frozen=True, slots=True)
class TopologyChanged:
    changes: Changes


@dataclass(frozen=True, slots=True)
class FailoverStarted:
    writer: Instance


@dataclass(frozen=True, slots=True)
class FailoverCompleted:
    writer: Instance
    old_writer: Instance
    seconds: float


@dataclass(frozen=True, slots=True)
class ReaderSetAside:
    instance: Instance


@dataclass(frozen=True, slots=True)
class ReaderRestored:
    instance: Instance


Event = TopologyChanged | FailoverStarted | FailoverCompleted | ReaderSetAside | ReaderRestored


@dataclass(frozen=True, slots=True)
class Doubt:
    """Since when (`time.monotonic()`) nobody is known to write, and who did before."""

    writer: Instance
    since: float


def doubt_after(doubt: Doubt | None, before: View, after: View, now: float) -> Doubt | None:
    """The doubt that there is after a change."""
    if after.trusted_writer is not None:
        return None
    if before.trusted_writer is not None:
        return Doubt(before.trusted_writer, now)
    return doubt


def events(before: View, after: View, doubt: Doubt | None) -> Iterator[Event]:
    """What the change from one view to the next means, in the order of causes; `doubt` is that of before."""
    known, trusted = before.trusted_writer, after.trusted_writer
    if known is not None and trusted is None:
        yield FailoverStarted(known)
    if after.topology.generation != before.topology.generation:
        yield TopologyChanged(changes(before.topology, after.topology))
    for instance in after.topology.instances:
        if instance.address in after.set_aside and instance.address not in before.set_aside:
            yield ReaderSetAside(instance)
        elif instance.address in before.set_aside and instance.address not in after.set_aside:
            yield ReaderRestored(instance)
    if trusted is not None and doubt is not None:
        yield FailoverCompleted(trusted, doubt.writer, max(0.0, after.confirmed_at - doubt.since))
