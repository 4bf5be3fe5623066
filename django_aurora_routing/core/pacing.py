"""How long to wait before trying again; values that are told the time and the dice."""

from __future__ import annotations

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
