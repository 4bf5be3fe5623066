"""Decides where a connection goes next; a pure function of the plan, what is known, and the time."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass, field, replace

from .endpoints import Address
from .initial import Start, Substitution
from .options import FailoverMode
from .preferences import (
    ANY_READER,
    Preferences,
    allowed_readers,
    fit_readers,
    is_allowed,
    nearest_to_the_writer,
    preferred_readers,
)
from .regions import ALL_REGIONS, Candidates, Readers, Regions, Wish
from .regions import candidates as candidates_of
from .selection import NO_FACTS, STRATEGIES, Facts
from .topology import NOTHING_KNOWN, Instance, Role, Topology, Trust


@dataclass(frozen=True, slots=True)
class View:
    """What a process knows of a cluster at one moment. All times are `time.monotonic()` seconds.

    `confirmed_at`: when the writer last said of itself that it writes. `suspected_at`: when the writer last failed
    somebody; a confirmation older than that is worth nothing. `missed_at`: when a monitor last could not reach it,
    having gone to ask. `set_aside`: readers found dead, until a monitor has
    reached them again. `listed` is how many servers the settings name, of which some may not have answered yet; 0 where
    the cluster tells who there is. `generation` rises when a connection made before may be in the wrong place,
    `version` with every change, so that one can wait for the next.
    """

    topology: Topology = NOTHING_KNOWN
    confirmed_at: float = float("-inf")
    suspected_at: float = float("-inf")
    missed_at: float = float("-inf")
    set_aside: frozenset[Address] = frozenset()
    generation: int = 0
    version: int = 0
    listed: int = 0

    @property
    def is_single_host(self) -> bool:
        """Whether it has a writer and nobody else. A reader that is set aside, or listed and silent, is somebody."""
        return self.topology.writer is not None and len(self.topology.instances) == 1 and self.listed <= 1

    @property
    def trusted_writer(self) -> Instance | None:
        """The writer, unless it has failed somebody since it was last confirmed."""
        return self.topology.writer if self.confirmed_at > self.suspected_at else None

    @property
    def trust(self) -> Trust:
        """What is thought of the known writer, whoever says that he is it now."""
        if self.trusted_writer is not None:
            return Trust.GOOD
        return Trust.GONE if self.missed_at > self.suspected_at else Trust.DOUBTED

    @property
    def live_readers(self) -> tuple[Instance, ...]:
        return tuple(i for i in self.topology.readers if i.address not in self.set_aside)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connect that failed, for the message of the error that may end it all."""

    address: Address
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One search for an instance: what is wanted, until when, and what was tried.

    `goal` is the reader that it is meant for, if that is a candidate still; the strategy decides otherwise.
    """

    mode: FailoverMode
    deadline: float
    strategy: str = "random"
    turn: int = 0
    attempts: tuple[Attempt, ...] = ()
    regions: Regions = ALL_REGIONS
    preferences: Preferences = ANY_READER
    goal: Address | None = None

    def failed(self, address: Address, reason: str) -> Plan:
        """The plan after a failed connect; the last 20 are remembered."""
        attempts = (*self.attempts, Attempt(address, reason))[-20:]
        return replace(self, attempts=attempts, turn=self.turn + 1, goal=None)


@dataclass(frozen=True, slots=True)
class Connect:
    """`reason` is why it is this one, for the log."""

    instance: Instance
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AwaitTopology:
    """Nothing to connect to now: wait for a newer view than `version`, at most until `until`."""

    version: int
    until: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


Step = Connect | AwaitTopology | GiveUp


class Place(enum.Enum):
    """How good the instance is that a connection is on."""

    RIGHT = "right"
    FALLBACK = "fallback"
    WRONG = "wrong"


_WISHES = {
    FailoverMode.STRICT_WRITER: Wish(Readers.NONE, True),
    FailoverMode.STRICT_READER: Wish(Readers.ANY, False),
    FailoverMode.READER_OR_WRITER: Wish(Readers.ANY, True),
}


def candidates(view: View, mode: FailoverMode, regions: Regions = ALL_REGIONS) -> Candidates:
    """Who the mode wants a connection to be on, as far as is known; whether the writer is to be trusted is open."""
    topology = view.topology
    if mode is FailoverMode.STRICT_READER and view.is_single_host:
        mode = FailoverMode.READER_OR_WRITER  # there is nobody to be strict about
    return candidates_of(
        _WISHES[mode], regions, readers=view.live_readers, writer=topology.writer, primary=topology.primary_region
    )


# Who a new connection may be on, by what takes HOST's place, and by the role that HOST's own server must have.
_WRITER, _READER = (FailoverMode.STRICT_WRITER,), (FailoverMode.READER_OR_WRITER,)
_MODES: dict[Substitution | Role | None, tuple[FailoverMode, ...]] = {
    None: (),
    Substitution.WRITER: _WRITER,
    Substitution.READER: _READER,
    Substitution.ANY: (*_READER, *_WRITER),
    Substitution.NONE: (),
    Role.WRITER: _WRITER,
    Role.READER: _READER,
}


def modes_of(start: Start, mode: FailoverMode) -> tuple[FailoverMode, ...]:
    """What a connection may have been made for: `mode`, where it goes after a failure, and where new ones go."""
    takes_any = start.role is Substitution.NONE and start.verified is None
    others = _MODES[Substitution.ANY] if takes_any else (*_MODES[start.role], *_MODES[start.verified])
    return tuple(dict.fromkeys((mode, *others)))


def first_mode(start: Start, mode: FailoverMode, view: View, rng: random.Random) -> FailoverMode:
    """Who a new connection may be on; `mode` if nothing is said. Where any will do, each has the same share."""
    if start.role is Substitution.ANY and view.trusted_writer is not None:
        is_writers = rng.randrange(len(view.live_readers) + 1) == 0
        return FailoverMode.STRICT_WRITER if is_writers else FailoverMode.READER_OR_WRITER
    return next(iter(_MODES[start.role]), mode)


def next_step(
    plan: Plan,
    view: View,
    now: float,
    rng: random.Random,
    facts: Facts = NO_FACTS,
    found: Candidates | None = None,
) -> Step:
    """What to do next: connect to an instance, wait for news of the cluster, or give up.

    `found` is what `candidates()` says of this plan and view, for who has asked already.

    A writer is connected to when its own word that it writes is younger than the last failure anybody met on it.
    Readers that are set aside, or not what the alias prefers, are passed over; the writer stands in for them. Where it
    may not, that is with strict_reader, the reader that is least behind does. A writer that is out of the question, by
    its region or as no member of a custom endpoint, is not waited for.
    """
    found = found or candidates(view, plan.mode, plan.regions)
    if now >= plan.deadline:
        return GiveUp(_summary(plan, view, found))
    if readers := preferred_readers(found.readers, plan.preferences):
        if (goal := next((i for i in readers if i.address == plan.goal), None)) is not None:
            return Connect(goal, "to have its share")
        chosen = STRATEGIES[plan.strategy](readers, facts, rng, plan.turn)
        return Connect(chosen, f"{plan.strategy} of {', '.join(i.id for i in readers)}")
    if not found.may_be_writer and (last := nearest_to_the_writer(found.readers, plan.preferences)) is not None:
        return Connect(last, "the least behind, though above max_reader_lag_ms")
    if view.trusted_writer is not None:
        if found.writer is not None and is_allowed(found.writer, plan.preferences):
            return Connect(found.writer, "stands in, while no reader is fit" if found.wants_reader else "the writer")
        if found.refusal and not found.wants_reader:
            return GiveUp(found.refusal)
        if found.writer is not None and not found.wants_reader:
            return GiveUp(f"the writer, {found.writer.id}, is no member of the alias's custom endpoint")
    return AwaitTopology(view.version, plan.deadline)


def place_of(
    address: Address,
    mode: FailoverMode,
    view: View,
    regions: Regions = ALL_REGIONS,
    preferences: Preferences = ANY_READER,
) -> Place:
    """Whether a connection to `address` is where the mode and the preferences want it, as far as is known.

    Another zone is no wrong place: who is there may go home, but needs not at once.
    """
    instance = view.topology.at(address)
    if instance is None:
        return Place.WRONG
    found = candidates(view, mode, regions)
    fit = fit_readers(found.readers, preferences)
    if instance in fit:
        return Place.RIGHT
    if fit:
        return Place.WRONG
    if instance == found.writer and is_allowed(instance, preferences):
        return Place.FALLBACK if found.wants_reader else Place.RIGHT
    # All of them are above the ceiling, or gone.
    is_left = instance in allowed_readers(found.readers, preferences)
    has_writer = found.writer is not None and view.trusted_writer is not None
    return Place.FALLBACK if is_left and not has_writer else Place.WRONG


def _summary(plan: Plan, view: View, found: Candidates) -> str:
    tried = "; ".join(f"{a.address}: {a.reason}" for a in dict.fromkeys(plan.attempts)) or "no instance answered as one"
    return f"no {found.wish} could be reached in time. Known: {view.topology}. Tried: {tried}"
