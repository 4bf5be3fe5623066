"""When readers that were set aside are tried again: a value that is told the time and the dice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from .endpoints import Address
from .option_values import Given
from .pacing import Backoff

_PAUSES = Backoff(1.0, 30.0)

PROBATION = 60.0
"""Seconds for which it is not forgotten of a reader that has come back that it had failed."""


@dataclass(frozen=True, slots=True)
class Absences:
    """Who is away, with the pauses between the tries; who has come back lately, with those he had, and when.

    A reader that fails again on probation is not new here: its pauses go on getting longer. So one that comes and goes
    is tried less and less often. Who is new is tried `at_once`, or else after the `first` pause.
    """

    first: Backoff = _PAUSES
    at_once: bool = True
    away: Mapping[Address, Backoff] = field(default_factory=dict)
    back: Mapping[Address, tuple[Backoff, float]] = field(default_factory=dict)

    def updated(self, set_aside: Collection[Address], now: float, chance: float) -> Absences:
        """After a look at who is set aside; `chance` is a random number from 0 to 1."""
        back = {a: (pauses, at) for a, (pauses, at) in self.back.items() if now - at <= PROBATION}
        away = {}
        for address in set_aside:
            if (pauses := self.away.get(address)) is None:
                pauses = back[address][0] if address in back else self.first
                if address in back or not self.at_once:
                    pauses = pauses.failed(now, chance)
            away[address] = pauses
            back.pop(address, None)
        return replace(self, away=away, back=back)

    def due(self, now: float) -> tuple[Address, ...]:
        return tuple(address for address, pauses in self.away.items() if pauses.is_due(now))

    def failed(self, address: Address, now: float, chance: float) -> Absences:
        """After a try that came to nothing."""
        return replace(self, away={**self.away, address: self.away[address].failed(now, chance)})

    def returned(self, address: Address, now: float) -> Absences:
        """After a try that was answered."""
        away = {other: pauses for other, pauses in self.away.items() if other != address}
        return replace(self, away=away, back={**self.back, address: (self.away[address], now)})

    def next_at(self) -> float:
        """When there is somebody to be tried again."""
        return min((pauses.due_at for pauses in self.away.values()), default=float("inf"))


NOBODY_AWAY = Absences()


def read_absences(given: Given) -> Absences:
    """As the options have it: with `exponential_backoff` the pause doubles for so many retries."""
    if not given.of("default_host_availability_strategy"):
        return NOBODY_AWAY
    first = given.number("host_availability_strategy_initial_backoff_time")
    longest = first * 2.0 ** min(30, given.number("host_availability_strategy_max_retries"))
    return Absences(Backoff(first, longest), at_once=False)
