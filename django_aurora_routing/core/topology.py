"""What is known of a cluster: immutable snapshots, and the functions that make the next one from an observation."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .endpoints import Address, HostPattern
from .positions import covers


class Trust(enum.Enum):
    """What is thought of the known writer while another server speaks."""

    GOOD = "nobody has had trouble with it since it last said that it writes"
    DOUBTED = "it has failed somebody"
    GONE = "it has failed somebody, and did not answer when it was asked about that"


class Role(enum.Enum):
    WRITER = "writer"
    READER = "reader"


@dataclass(frozen=True, slots=True)
class Instance:
    """One server of the cluster, as last reported. `lag` is in seconds, infinite if unknown; `cpu` is in percent.

    `age` is how many seconds before the answer the server had reported that, by the clock of the one who answered;
    infinite when that is unknown. `region` is told of instances of a global database,
    `zone` is the availability zone, if anybody has told. `server` is what a server that tells of itself alone calls
    itself; its id is its address. `position` is how far it has come in the history of transactions, if that is known.
    """

    id: str
    address: Address
    role: Role
    lag: float = 0.0
    cpu: float = 0.0
    age: float = math.inf
    region: str = ""
    zone: str | None = None
    server: str = ""
    position: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one server answered: who it is, whether it refuses writes, and the instances it knows of.

    `is_alone`: it tells of itself only. Then its role is WRITER where it takes writes and follows nobody, and there is
    no instance where it is neither a writer nor a reader; `remark` says why. `lags_of_all` is False where it knows its
    own lag only, and of the others just who they are.
    """

    server_id: str
    refuses_writes: bool
    instances: tuple[Instance, ...]
    is_alone: bool = False
    lags_of_all: bool = True
    remark: str = ""

    @property
    def claimed_writer(self) -> Instance | None:
        return next((i for i in self.instances if i.role is Role.WRITER), None)

    @property
    def is_from_writer(self) -> bool:
        """The server calls itself the writer and takes writes: the only word that is trusted about who writes."""
        writer = self.claimed_writer
        if writer is None or self.refuses_writes:
            return False
        return self.is_alone or writer.id == self.server_id


@dataclass(frozen=True, slots=True)
class Topology:
    """The instances of a cluster. Empty until the first observation.

    `generation` rises when membership or roles change, never for lag or load: a connection made under another
    generation may be in the wrong place. `asked_at` is the `time.monotonic()` just before the question whose answer
    this is. `primary_region` is that of the last writer that was known. `rivals` take writes although another is the
    writer; they are no instances, for what was written there is not what the others have. `promoted` are those of them
    that were readers when the writer last spoke, by what they call themselves.
    """

    instances: tuple[Instance, ...] = ()
    generation: int = 0
    asked_at: float = -math.inf
    primary_region: str = ""
    rivals: tuple[Instance, ...] = ()
    promoted: frozenset[str] = frozenset()

    @property
    def writer(self) -> Instance | None:
        return next((i for i in self.instances if i.role is Role.WRITER), None)

    @property
    def readers(self) -> tuple[Instance, ...]:
        return tuple(i for i in self.instances if i.role is Role.READER)

    def is_word_of_the_writer(self, seen: Observation) -> bool:
        """Whether it is the writer of this topology that says so of itself."""
        return seen.is_from_writer and self.is_by_the_writer(seen)

    def is_by_the_writer(self, seen: Observation) -> bool:
        """Whether it is the writer of this topology that speaks, whatever it says."""
        writer = self.writer
        return writer is not None and (writer.server if seen.is_alone else writer.id) == seen.server_id

    def at(self, address: Address) -> Instance | None:
        return next((i for i in self.instances if i.address == address), None)

    def __str__(self) -> str:
        if not self.instances:
            return "no instance known"
        return ", ".join(f"{i.id} ({i.role.value}, {i.address})" for i in self.instances)


NOTHING_KNOWN = Topology()


def updated_topology(
    old: Topology,
    seen: Observation,
    asked_at: float = -math.inf,
    *,
    names: Sequence[Address] = (),
    trust: Trust = Trust.GOOD,
    confirmed_at: float = -math.inf,
) -> Topology:
    """The topology after an observation that was asked for at `asked_at`.

    A reader's word about the writer lags behind a failover, so it is believed at the first meeting only; afterwards
    the writer changes by the new writer's own word (`Observation.is_from_writer`). Of servers that are alone, nobody
    else's word is ever believed: see `_with_own_word`, where the other arguments are explained. Answers overtake each
    other: what was asked before `confirmed_at`, that is before the known writer was asked and said that it is,
    takes the role from nobody.
    """
    known = old.writer
    is_late = known is not None and asked_at < confirmed_at
    if seen.is_alone:
        if is_late and old.is_by_the_writer(seen) and not seen.is_from_writer:
            return old
        return _with_own_word(old, seen, asked_at, names, Trust.GOOD if is_late else trust)
    instances = seen.instances
    if not instances:
        if known is None or known.id != seen.server_id or not seen.refuses_writes or is_late:
            return old
        instances = tuple(i for i in old.instances if i is not known)  # it knows that it is cut off from the others
    if old.instances and (is_late or not seen.is_from_writer):
        if known is not None and seen.server_id == known.id and seen.refuses_writes and not is_late:
            known = None  # it says itself that it takes no more writes; whom it names instead is hearsay
        writer_id = known.id if known is not None else None
        instances = tuple(replace(i, role=Role.WRITER if i.id == writer_id else Role.READER) for i in instances)
        if known is not None and all(i.id != writer_id for i in instances):
            instances += (known,)
    if not seen.lags_of_all:
        before = {i.id: _later(i, asked_at - old.asked_at) for i in old.instances if i.id != seen.server_id}
        instances = tuple(replace(i, lag=b.lag, age=b.age) if (b := before.get(i.id)) else i for i in instances)
    return _next(old, instances, asked_at)


def _with_own_word(
    old: Topology, seen: Observation, asked_at: float, names: Sequence[Address], trust: Trust
) -> Topology:
    """The topology after a server has told of itself; the others are as they were.

    Two that take writes are not two writers: the known one stays, as long as it is good or says so when it is asked.
    A doubted one is replaced by what has turned from a reader to one that takes writes since it last spoke, for
    somebody has promoted that; by one that took writes beside it, such as a former writer that nobody has told, not
    before it is gone itself. What has been
    replaced is no instance any more, until it speaks for itself. `names`: of the addresses of one server the first
    in these is its own, as another may lead to another server tomorrow.
    """
    said = next(iter(seen.instances), None)
    before = next((i for i in (*old.instances, *old.rivals) if i.server == seen.server_id), None)
    if said is not None and before is not None and _rank(before, names) < _rank(said, names):
        said = replace(said, id=before.id, address=before.address)

    def is_another(instance: Instance) -> bool:
        return instance.server != seen.server_id and (said is None or instance.address != said.address)

    others = [_later(i, asked_at - old.asked_at) for i in old.instances if is_another(i)]
    rivals = [i for i in old.rivals if is_another(i)]
    known = next((i for i in others if i.role is Role.WRITER), None)
    promoted = old.promoted & {i.server for i in rivals}
    if said is not None and said.role is Role.WRITER:
        is_promoted = seen.server_id in old.promoted or (before is not None and before in old.readers)
        if known is None:
            promoted = frozenset()  # the writer has spoken, or there is a new one
        elif trust is Trust.GONE or (trust is Trust.DOUBTED and is_promoted):
            others.remove(known)
            promoted = frozenset()
        else:
            rivals.append(said)
            promoted |= {seen.server_id} if is_promoted else set()
            said = None
    if said is not None:
        if said.role is Role.READER:
            said = _with_proof(said, known, before, asked_at - old.asked_at)
        others.append(_later(said, old.asked_at - asked_at))
    topology = _next(old, others, max(asked_at, old.asked_at))
    return replace(topology, rivals=tuple(sorted(rivals, key=lambda i: i.id)), promoted=promoted)


def _with_proof(reader: Instance, writer: Instance | None, before: Instance | None, later: float) -> Instance:
    """The reader, its age such that by its lag it shows what it is proved to have.

    Where it has all that the writer had when that was asked, it has everything that was committed before then. What it
    once had it has still, if it has not gone back.
    """
    ages = [reader.age]
    if writer is not None and covers(reader.position, writer.position):
        ages.append(writer.age - reader.lag)
    if before is not None and before.role is Role.READER and covers(reader.position, before.position):
        ages.append(_later(before, later).age + before.lag - reader.lag)
    return replace(reader, age=max(0.0, min(age for age in ages if not math.isnan(age))))


def _rank(instance: Instance, names: Sequence[Address]) -> int:
    return names.index(instance.address) if instance.address in names else len(names)


def _later(instance: Instance, seconds: float) -> Instance:
    """The instance as it is told of so much later, if it is later."""
    return replace(instance, age=instance.age + seconds) if seconds > 0 else instance


def _next(old: Topology, instances: Sequence[Instance], asked_at: float) -> Topology:
    """The topology with these instances."""
    instances = tuple(sorted(instances, key=lambda i: i.id))
    changed = {(i.id, i.address, i.role) for i in instances} != {(i.id, i.address, i.role) for i in old.instances}
    primary = next((i.region for i in instances if i.role is Role.WRITER), old.primary_region)
    return Topology(instances, old.generation + changed, asked_at, primary)


def instance_at(pattern: HostPattern | None, instance_id: str, fallback: Address, region: str = "") -> Address:
    """The address of an instance by the host pattern, or the address it was asked at when there is none."""
    return pattern.address(instance_id, region) if pattern is not None else fallback
