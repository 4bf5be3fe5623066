"""Picks a reader: small functions from candidates, and what the process knows besides the topology, to one of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .endpoints import Address
from .topology import Instance


@dataclass(frozen=True, slots=True)
class Weights:
    """How much an alias gives to each instance, which `pairs` name by id, host, or host and port."""

    pairs: tuple[tuple[str, int], ...] = ()
    default: int = 1

    def of(self, instance: Instance) -> int:
        if not self.pairs:
            return self.default
        names = (instance.id.lower(), instance.address.host.lower(), str(instance.address).lower())
        return next((weight for name, weight in self.pairs if name in names), self.default)


ALIKE = Weights()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a process knows besides the topology when it picks one for an alias.

    `connections` are its own, open or about to be, by instance; `response_times` are in seconds.
    """

    connections: Mapping[Address, int] = field(default_factory=dict)
    response_times: Mapping[Address, float] = field(default_factory=dict)
    weights: Weights = ALIKE

    def crowding(self, instance: Instance) -> float:
        """How full an instance would be with one connection more, for its weight."""
        return (self.connections.get(instance.address, 0) + 1) / self.weights.of(instance)


NO_FACTS = Facts()

Strategy = Callable[[Sequence[Instance], Facts, random.Random, int], Instance]
"""From candidates (one at least), facts, chance, and how many picks the alias has made before, to one of them."""

# Values that differ by less are the same: the rest is noise, and all processes of a site would follow it together.
_LAG_STEP = 0.01  # seconds
_LOAD_STEP = 10.0  # percent
_SLOWER, _BY_CHANCE = 1.25, 0.00025  # times the fastest, and seconds
_FULL_LOAD = 100.0  # percent
_LOAD_OF_A_SECOND = 100.0  # what a second of lag counts for, in percent of CPU
_UNKNOWN_LAG = 1.0  # what an unknown one is taken for: who has stopped applying is idle, and not to be preferred for it


def load(instance: Instance) -> float:
    """How busy the topology says it is: CPU in percent, and 1 % more for 10 ms of lag; an unknown lag is a second."""
    return instance.cpu + _LOAD_OF_A_SECOND * (instance.lag if math.isfinite(instance.lag) else _UNKNOWN_LAG)


def _step(value: float, size: float) -> float:
    return value // size if math.isfinite(value) else value


def _least(candidates: Sequence[Instance], key: Callable[[Instance], object], rng: random.Random) -> Instance:
    keys = [key(candidate) for candidate in candidates]
    lowest = min(keys)  # type: ignore[type-var]
    return rng.choice([candidate for candidate, own in zip(candidates, keys, strict=True) if own == lowest])


def pick_random(candidates: Sequence[Instance], facts: Facts, rng: random.Random, turn: int) -> Instance:
    return rng.choice(candidates)


def pick_round_robin(candidates: Sequence[Instance], facts: Facts, rng: random.Random, turn: int) -> Instance:
    """By turns in the order of ids, each as often in a row as it weighs."""
    in_order = sorted(candidates, key=lambda i: i.id)
    weights = [facts.weights.of(candidate) for candidate in in_order]
    left = turn % sum(weights)
    for candidate, weight in zip(in_order, weights, strict=True):
        if left < weight:
            return candidate
        left -= weight
    raise AssertionError("weights are 1 at least")


def pick_weighted_random(candidates: Sequence[Instance], facts: Facts, rng: random.Random, turn: int) -> Instance:
    return rng.choices(candidates, [facts.weights.of(candidate) for candidate in candidates])[0]


def pick_highest_weight(candidates: Sequence[Instance], facts: Facts, rng: random.Random, turn: int) -> Instance:
    return _least(candidates, lambda i: (-facts.weights.of(i), facts.crowding(i)), rng)


def pick_least_connections(candidates: Sequence[Instance], facts: Facts, rng: random.Random, turn: int) -> Instance:
    return _least(candidates, facts.crowding, rng)


def pick_power_of_two(candidates: Sequence[Instance], facts: Facts, rng: random.Random, turn: int) -> Instance:
    """Of two by chance the emptier one; of two alike rather the less busy one, the more so the more they differ.

    Many processes with few connections each have nothing but the load to go by, and that is as old as the topology:
    they must not all follow it. So the busier one is taken as well, at least once in four times.
    """
    if len(candidates) == 1:
        return candidates[0]
    one, other = rng.sample(candidates, 2)
    full, fuller = facts.crowding(one), facts.crowding(other)
    if full != fuller:
        return one if full < fuller else other
    lead = (load(other) - load(one)) / (2 * _FULL_LOAD)
    return one if rng.random() < 0.5 + max(-0.25, min(0.25, lead)) else other


def pick_fastest_response(candidates: Sequence[Instance], facts: Facts, rng: random.Random, turn: int) -> Instance:
    """Of those that are hardly slower than the fastest the emptiest; first those that were never measured."""
    times = {candidate.id: facts.response_times.get(candidate.address, 0.0) for candidate in candidates}
    fastest = min(times.values())
    enough = max(_SLOWER * fastest, fastest + _BY_CHANCE)
    return _least([c for c in candidates if times[c.id] <= enough], facts.crowding, rng)


def pick_lowest_lag(candidates: Sequence[Instance], facts: Facts, rng: random.Random, turn: int) -> Instance:
    return _least(candidates, lambda i: (_step(i.lag, _LAG_STEP), facts.crowding(i)), rng)


def pick_lowest_load(candidates: Sequence[Instance], facts: Facts, rng: random.Random, turn: int) -> Instance:
    return _least(candidates, lambda i: (_step(load(i), _LOAD_STEP), facts.crowding(i)), rng)


STRATEGIES: dict[str, Strategy] = {
    "random": pick_random,
    "round_robin": pick_round_robin,
    "weighted_random": pick_weighted_random,
    "highest_weight": pick_highest_weight,
    "least_connections": pick_least_connections,
    "power_of_two": pick_power_of_two,
    "fastest_response": pick_fastest_response,
    "lowest_lag": pick_lowest_lag,
    "lowest_load": pick_lowest_load,
}

# What these go by changes all the time, so it says nothing of where connections should stay.
FLEETING = frozenset({"fastest_response", "lowest_lag", "lowest_load"})


def shares(strategy: str, candidates: Sequence[Instance], weights: Weights) -> dict[Address, int]:
    """In which proportion a strategy spreads connections that stay; empty for one that has no such thing in mind."""
    if strategy in FLEETING or not candidates:
        return {}
    if strategy == "random":
        return {candidate.address: 1 for candidate in candidates}
    by_address = {candidate.address: weights.of(candidate) for candidate in candidates}
    if strategy == "highest_weight":
        highest = max(by_address.values())
        return {address: 1 for address, weight in by_address.items() if weight == highest}
    return by_address
