"""How long something took, told often: counts, sum, maximum and a small histogram, as a value."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

BOUNDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""The upper bounds of the histogram's columns, in seconds; one more column has all above."""


@dataclass(frozen=True, slots=True)
class Timing:
    """All calls of one kind (`what` is "connect" or "execute") for an alias on an instance. Times in seconds.

    `count` includes those that `failed`. `histogram[n]` counts the calls that took at most `BOUNDS[n]` and longer
    than the bound before; its last has all that took longer than the last bound.
    """

    what: str
    alias: str
    instance: str
    count: int = 0
    failed: int = 0
    total: float = 0.0
    maximum: float = 0.0
    histogram: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0


def added(timing: Timing, seconds: float, *, failed: bool = False) -> Timing:
    """The timing after one more call."""
    column = bisect_left(BOUNDS, seconds)
    before = timing.histogram
    return Timing(
        timing.what,
        timing.alias,
        timing.instance,
        timing.count + 1,
        timing.failed + failed,
        timing.total + seconds,
        max(timing.maximum, seconds),
        (*before[:column], before[column] + 1, *before[column + 1 :]),
    )
