"""What happens to the servers, and when: a pure function of a seed.

Faults come in scenes that leave the cluster whole. At most one instance is dead or silent at a time, and a writer that
is gone for good is followed by a promotion within three seconds.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


class Act(enum.Enum):
    """What can be done to an instance; each value is how a timeline tells it."""

    KILL = "killed"
    FREEZE = "frozen"
    BLACK_HOLE = "cut off"
    LOSE_ANSWERS = "cut off from its answers"
    RESET = "its connections reset"
    REFUSE = "refuses connections"
    DELAY = "its network slowed down"
    LAG = "held back behind the writer"
    PROMOTE = "promoted"
    REVIVE = "revived"
    THAW = "thawed"
    HEAL = "its network healed"
    KEEP_UP = "held back no more"


@dataclass(frozen=True, slots=True)
class Fault:
    """One act, `at` seconds after the beginning. `scene` is the story that it belongs to."""

    at: float
    act: Act
    instance: str
    scene: str
    seconds: float = 0.0
    """How long each way takes, for DELAY; how far behind it is, for LAG."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays in a scene: the writer, the reader that may take over, and another reader."""

    rng: random.Random
    writer: str
    heir: str
    other: str

    def until_promotion(self) -> float:
        return self.rng.uniform(0.2, 3.0)

    def some(self, longest: float) -> float:
        return self.rng.uniform(0.2, longest)


# Seconds since the step before, the act, and to whom.
Step = tuple[float, Act, str]


def writer_dies(cast: Cast) -> Iterator[Step]:
    yield 0, Act.KILL, cast.writer
    yield cast.until_promotion(), Act.PROMOTE, cast.heir
    yield cast.some(3), Act.REVIVE, cast.writer


def writer_dies_before_it_answers(cast: Cast) -> Iterator[Step]:
    yield 0, Act.LOSE_ANSWERS, cast.writer
    yield cast.rng.uniform(0.02, 0.3), Act.KILL, cast.writer
    yield cast.until_promotion(), Act.PROMOTE, cast.heir
    yield 0, Act.HEAL, cast.writer
    yield cast.some(3), Act.REVIVE, cast.writer


def writer_freezes(cast: Cast) -> Iterator[Step]:
    yield 0, Act.FREEZE, cast.writer
    yield cast.until_promotion(), Act.PROMOTE, cast.heir
    yield cast.some(5), Act.THAW, cast.writer


def writer_is_cut_off(cast: Cast) -> Iterator[Step]:
    yield 0, Act.BLACK_HOLE, cast.writer
    yield cast.until_promotion(), Act.PROMOTE, cast.heir
    yield cast.some(5), Act.HEAL, cast.writer


def writer_stalls(cast: Cast) -> Iterator[Step]:
    """Nobody takes over, and it goes on where it was."""
    yield 0, Act.FREEZE, cast.writer
    yield cast.some(4), Act.THAW, cast.writer


def network_stalls(cast: Cast) -> Iterator[Step]:
    """What was on its way arrives late; who sent it may have given up by then."""
    yield 0, Act.BLACK_HOLE, cast.writer
    yield cast.some(5), Act.HEAL, cast.writer


def connections_are_reset(cast: Cast) -> Iterator[Step]:
    """Three times: it is the surest way to lose answers to COMMIT, and the old transactions' server lives on."""
    for pause in (0.0, cast.some(0.5), cast.some(0.5)):
        yield pause, Act.LOSE_ANSWERS, cast.writer
        yield cast.rng.uniform(0.02, 0.2), Act.RESET, cast.writer
        yield 0, Act.HEAL, cast.writer


def writer_refuses(cast: Cast) -> Iterator[Step]:
    yield 0, Act.REFUSE, cast.writer
    yield cast.rng.uniform(0, 0.2), Act.RESET, cast.writer
    yield cast.some(2), Act.HEAL, cast.writer


def switch_over(cast: Cast) -> Iterator[Step]:
    yield 0, Act.PROMOTE, cast.heir


def switch_over_and_back(cast: Cast) -> Iterator[Step]:
    yield 0, Act.PROMOTE, cast.heir
    yield cast.rng.uniform(0, 0.5), Act.PROMOTE, cast.writer


def new_writer_dies_at_once(cast: Cast) -> Iterator[Step]:
    yield 0, Act.PROMOTE, cast.heir
    yield cast.rng.uniform(0, 0.3), Act.KILL, cast.heir
    yield cast.until_promotion(), Act.PROMOTE, cast.other
    yield cast.some(3), Act.REVIVE, cast.heir


def reader_dies(cast: Cast) -> Iterator[Step]:
    yield 0, Act.KILL, cast.other
    yield cast.some(3), Act.REVIVE, cast.other


def reader_freezes(cast: Cast) -> Iterator[Step]:
    yield 0, Act.FREEZE, cast.other
    yield cast.some(6), Act.THAW, cast.other


def reader_is_cut_off(cast: Cast) -> Iterator[Step]:
    yield 0, Act.BLACK_HOLE, cast.other
    yield cast.some(6), Act.HEAL, cast.other


def reader_lags(cast: Cast) -> Iterator[Step]:
    yield 0, Act.LAG, cast.other
    yield cast.some(4), Act.KEEP_UP, cast.other


def reader_dies_and_the_other_lags(cast: Cast) -> Iterator[Step]:
    """Who has read from the one must not go back in time on the other."""
    yield 0, Act.LAG, cast.other
    yield cast.rng.uniform(1, 2), Act.KILL, cast.heir
    yield cast.some(2), Act.REVIVE, cast.heir
    yield cast.some(2), Act.KEEP_UP, cast.other


def switch_over_without_a_reader(cast: Cast) -> Iterator[Step]:
    """The old writer is the only one that could be read from, until the dead reader is back."""
    yield 0, Act.KILL, cast.other
    yield cast.some(1), Act.PROMOTE, cast.heir
    yield cast.some(2), Act.REVIVE, cast.other


def network_is_slow(cast: Cast) -> Iterator[Step]:
    yield 0, Act.DELAY, cast.writer
    yield cast.some(1), Act.PROMOTE, cast.heir
    yield cast.some(2), Act.HEAL, cast.writer


SCENES: tuple[Callable[[Cast], Iterator[Step]], ...] = (
    writer_dies,
    writer_dies_before_it_answers,
    writer_freezes,
    writer_is_cut_off,
    writer_stalls,
    network_stalls,
    connections_are_reset,
    writer_refuses,
    switch_over,
    switch_over_and_back,
    new_writer_dies_at_once,
    reader_dies,
    reader_freezes,
    reader_is_cut_off,
    reader_lags,
    reader_dies_and_the_other_lags,
    switch_over_without_a_reader,
    network_is_slow,
)
PAUSE = (0.3, 2.0)
"""Seconds of peace after each scene, between these two."""


def _shuffled(rng: random.Random) -> list[Callable[[Cast], Iterator[Step]]]:
    """All scenes, and between them now and then the one that loses answers to COMMIT."""
    deck = []
    for scene in rng.sample(SCENES, len(SCENES)):
        deck += [scene, connections_are_reset] if rng.random() < 0.5 else [scene]
    return deck


def schedule(seed: int, seconds: float, instances: Sequence[str]) -> tuple[Fault, ...]:
    """The faults of a run, in their order. The first of `instances` is the writer; there are three or more.

    Every scene is played before any is played again, but for resets, and only to its end.
    """
    rng = random.Random(seed)
    writer, faults = instances[0], list[Fault]()
    deck: list[Callable[[Cast], Iterator[Step]]] = []
    now = rng.uniform(0.5, 1.5)
    while True:
        deck = deck or _shuffled(rng)
        scene = deck.pop()
        heir, other = rng.sample([one for one in instances if one != writer], 2)
        acts = []
        for pause, act, instance in scene(Cast(rng, writer, heir, other)):
            now += pause
            seconds_of_it = {Act.DELAY: round(rng.uniform(0.005, 0.1), 3), Act.LAG: float(rng.randint(1, 3))}.get(
                act, 0
            )
            acts.append(Fault(round(now, 3), act, instance, scene.__name__.replace("_", " "), seconds_of_it))
            writer = instance if act is Act.PROMOTE else writer
        if now > seconds:
            return tuple(faults)
        faults += acts
        now += rng.uniform(*PAUSE)
