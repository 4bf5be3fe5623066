"""How long to wait before trying again; values that are told the time and the dice."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling pauses from `first` to `longest` seconds, each with up to half of it taken off at random."""

    first: float
    longest: float
    failures: int = 0
    due_at: float = float("-inf")

    def is_due(self, now: float) -> bool:
        return now >= self.due_at

    def failed(self, now: float, chance: float) -> Backoff:
        """After one more failure at `now`; `chance` is a random number from 0 to 1."""
        pause = min(self.longest, self.first * 2.0 ** min(self.failures, 30))
        return replace(self, failures=self.failures + 1, due_at=now + pause * (1 - chance / 2))


def in_between(now: float, period: float, others: Iterable[float], rng: random.Random) -> float:
    """When to ask next, half a `period` to one and a half from now, given when the `others` will, who ask as often.

    Each goes to the middle of the longest time in which nobody asks. So all of them are soon spread over the period
    evenly, and what any of them can see first is seen earliest. One who is alone asks at random. Who should have asked
    more than a period ago is still waiting for an answer, and does not count.
    """
    taken = sorted((other - now) % period for other in others if now - other <= period)
    if not taken:
        return now + period * rng.uniform(0.5, 1.5)
    size, start = max((end - start, start) for start, end in zip(taken, [*taken[1:], taken[0] + period], strict=True))
    due = (start + size * rng.uniform(0.4, 0.6)) % period
    return now + (due if due >= period / 2 else due + period)
