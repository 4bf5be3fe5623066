"""Judges by observed lag whether readers have what was committed: pure functions of times, unknown counts as no."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .failover import View
from .topology import Instance


@dataclass(frozen=True, slots=True)
class Lag:
    """How far one reader was behind its writer, in seconds, and when that was so.

    `reader` is an instance's id where an alias may lead to several, else the alias. `seen_at` is the
    `time.monotonic()` at which the server measured it, or earlier; not when it was asked.
    """

    reader: str
    seconds: float
    seen_at: float

    @property
    def applied_until(self) -> float:
        """The reader certainly shows everything that was committed before this time."""
        return self.seen_at - self.seconds


def observed_lags(view: View, readers: Iterable[Instance]) -> tuple[Lag, ...]:
    """The lag of each of these readers; nothing while it is in doubt who the writer is."""
    if view.trusted_writer is None:
        return ()
    return tuple(Lag(i.id, i.lag, view.topology.asked_at - i.age) for i in readers)


def is_caught_up(committed_at: float, lags: Sequence[Lag], floor: float = 0.0) -> bool:
    """Whether what is known proves that every reader shows what was committed at `committed_at`.

    That is a time of the same clock as `Lag.seen_at`. `floor` is how many seconds the proof has to be later than
    that, for clocks that do not quite agree. Without any lag known nothing is proved.
    """
    return bool(lags) and min(lag.applied_until for lag in lags) - floor > committed_at


def fresh_enough(lags: Sequence[Lag], max_lag: float, now: float) -> bool:
    """Whether what is known proves that every reader is at most `max_lag` seconds behind at `now`.

    The time since the observation counts as lag, so an old observation proves little.
    """
    return bool(lags) and all(now - lag.applied_until <= max_lag for lag in lags)
