"""Times contenders against each other in one run, so that a busy machine is busy for all of them."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True)
class Timed:
    """One contender's median nanoseconds a call, and how many times the first contender's time that is.

    The ratio is the median of the rounds' own ratios: what slowed a round down slowed both of its sides down.
    """

    nanoseconds: float
    ratio: float


def timed(contenders: Mapping[str, Call], *, rounds: int, calls: int) -> dict[str, Timed]:
    """Time each contender. In each round every one makes `calls` calls, in another order each time."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    rng = random.Random(1)
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            call = contenders[name]
            started = time.perf_counter_ns()
            for _ in range(calls):
                call()
            samples[name].append((time.perf_counter_ns() - started) / calls)
    first = next(iter(samples.values()))
    return {
        name: Timed(
            statistics.median(values),
            statistics.median([value / base for value, base in zip(values, first, strict=True)]),
        )
        for name, values in samples.items()
    }
