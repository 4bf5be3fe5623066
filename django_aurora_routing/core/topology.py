"""What is known of a cluster: immutable snapshots, and the functions that make the next one from an observation."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

from .endpoints import Address, HostPattern


class Role(enum.Enum):
    WRITER = "writer"
    READER = "reader"


@dataclass(frozen=True, slots=True)
class Instance:
    """One server of the cluster, as last reported. `lag` is in seconds, infinite if unknown; `cpu` is in percent.

    `age` is how many seconds before the answer the server had reported that, by the clock of the one who answered;
    infinite when that is unknown. `region` is told of instances of a global database,
    `zone` is the availability zone, if anybody has told.
    """

    id: str
    address: Address
    role: Role
    lag: float = 0.0
    cpu: float = 0.0
    age: float = math.inf
    region: str = ""
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one server answered: who it is, whether it refuses writes, and the instances it knows of."""

    server_id: str
    refuses_writes: bool
    instances: tuple[Instance, ...]

    @property
    def claimed_writer(self) -> Instance | None:
        return next((i for i in self.instances if i.role is Role.WRITER), None)

    @property
    def is_from_writer(self) -> bool:
        """The server calls itself the writer and takes writes: the only word that is trusted about who writes."""
        writer = self.claimed_writer
        return writer is not None and writer.id == self.server_id and not self.refuses_writes


@dataclass(frozen=True, slots=True)
class Topology:
    """The instances of a cluster. Empty until the first observation.

    `generation` rises when membership or roles change, never for lag or load: a connection made under another
    generation may be in the wrong place. `asked_at` is the `time.monotonic()` just before the question whose answer
    this is. `primary_region` is that of the last writer that was known.
    """

    instances: tuple[Instance, ...] = ()
    generation: int = 0
    asked_at: float = -math.inf
    primary_region: str = ""

    @property
    def writer(self) -> Instance | None:
        return next((i for i in self.instances if i.role is Role.WRITER), None)

    @property
    def readers(self) -> tuple[Instance, ...]:
        return tuple(i for i in self.instances if i.role is Role.READER)

    def at(self, address: Address) -> Instance | None:
        return next((i for i in self.instances if i.address == address), None)

    def __str__(self) -> str:
        if not self.instances:
            return "no instance known"
        return ", ".join(f"{i.id} ({i.role.value}, {i.address})" for i in self.instances)


NOTHING_KNOWN = Topology()


def updated_topology(old: Topology, seen: Observation, asked_at: float = -math.inf) -> Topology:
    """The topology after an observation that was asked for at `asked_at`.

    A reader's word about the writer lags behind a failover, so it is believed at the first meeting only; afterwards
    the writer changes by the new writer's own word (`Observation.is_from_writer`).
    """
    instances = seen.instances
    if not instances:
        return old
    known = old.writer
    if old.instances and not seen.is_from_writer:
        if known is not None and seen.server_id == known.id and seen.refuses_writes:
            known = None  # it says itself that it takes no more writes; whom it names instead is hearsay
        writer_id = known.id if known is not None else None
        instances = tuple(replace(i, role=Role.WRITER if i.id == writer_id else Role.READER) for i in instances)
        if known is not None and all(i.id != writer_id for i in instances):
            instances += (known,)
    instances = tuple(sorted(instances, key=lambda i: i.id))
    changed = {(i.id, i.address, i.role) for i in instances} != {(i.id, i.address, i.role) for i in old.instances}
    primary = next((i.region for i in instances if i.role is Role.WRITER), old.primary_region)
    return Topology(instances, old.generation + changed, asked_at, primary)


def instance_at(pattern: HostPattern | None, instance_id: str, fallback: Address) -> Address:
    """The address of an instance by the host pattern, or the address it was asked at when there is none."""
    return pattern.address(instance_id) if pattern is not None else fallback
