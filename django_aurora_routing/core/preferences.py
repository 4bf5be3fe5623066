"""Which readers an alias takes at all, and which of them it would rather have; pure, from options and a topology."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .option_values import Given
from .selection import ALIKE, Weights
from .topology import Instance


@dataclass(frozen=True, slots=True)
class Preferences:
    """What one alias wants of its readers. `max_lag` is in seconds.

    `allowed` are the ids of the instances that it may be on, the writer too; None for all of them. `zones` tells the
    zones of instances by id, where the topology does not know them or the alias knows better.
    """

    max_lag: float = math.inf
    zone: str | None = None
    zones: tuple[tuple[str, str], ...] = ()
    allowed: frozenset[str] | None = None
    weights: Weights = ALIKE
    turn_weights: Weights = ALIKE

    def weights_for(self, strategy: str) -> Weights:
        return self.turn_weights if strategy == "round_robin" else self.weights

    def zone_of(self, instance: Instance) -> str | None:
        return next((zone for name, zone in self.zones if name == instance.id.lower()), instance.zone)


ANY_READER = Preferences()


def is_allowed(instance: Instance, preferences: Preferences) -> bool:
    """Whether the alias may be on it at all."""
    return preferences.allowed is None or instance.id in preferences.allowed


def allowed_readers(readers: Sequence[Instance], preferences: Preferences) -> tuple[Instance, ...]:
    """Those of the readers that the alias may be on, however far behind they are."""
    return tuple(i for i in readers if is_allowed(i, preferences))


def fit_readers(readers: Sequence[Instance], preferences: Preferences) -> tuple[Instance, ...]:
    """Those that a connection may stay on. An unknown lag is infinite, so it is above every ceiling."""
    return tuple(i for i in allowed_readers(readers, preferences) if i.lag <= preferences.max_lag)


def preferred_readers(readers: Sequence[Instance], preferences: Preferences) -> tuple[Instance, ...]:
    """Those that a new connection may go to: the fit ones in the alias's own zone, or all of them if there is none."""
    fit = fit_readers(readers, preferences)
    if preferences.zone is None:
        return fit
    return tuple(i for i in fit if preferences.zone_of(i) == preferences.zone) or fit


def settled(readers: Sequence[Instance], preferences: Preferences) -> tuple[Instance, ...]:
    """Those candidates that connections move to of their own accord: not such as may be above the ceiling soon."""
    return tuple(i for i in preferred_readers(readers, preferences) if i.lag <= preferences.max_lag / 2)


def nearest_to_the_writer(readers: Sequence[Instance], preferences: Preferences) -> Instance | None:
    """The allowed reader with the least lag, for who has to take one."""
    return min(allowed_readers(readers, preferences), key=lambda i: (i.lag, i.id), default=None)


def read_preferences(given: Given) -> Preferences:
    """What the options say of readers."""
    of = given.of

    def weights(kind: str) -> Weights:
        setting, default = f"{kind}_host_weight_pairs", int(given.number(f"{kind}_default_weight"))
        try:
            return parse_weights(of(setting), default)
        except ValueError as exc:
            given.say(f"OPTIONS[{setting!r}]", f"{exc}.", "Write 'instance-1:3,instance-2:1', or a dict.")
            return Weights(default=default)

    zones: tuple[tuple[str, str], ...] = ()
    try:
        zones = parse_pairs(of("instance_zones"))
    except ValueError as exc:
        given.say("OPTIONS['instance_zones']", f"{exc}.", "Write 'instance-1:eu-west-1a', or a dict.")
    return Preferences(
        max_lag=math.inf if of("max_reader_lag_ms") is None else given.number("max_reader_lag_ms"),
        zone=given.text("availability_zone"),
        zones=zones,
        weights=weights("weighted_random"),
        turn_weights=weights("round_robin"),
    )


def parse_weights(value: object, default: int) -> Weights:
    """`"a:3,b:1"` or `{"a": 3, "b": 1}`. Raises ValueError, which says what is wrong."""
    pairs = []
    for name, weight in parse_pairs(value):
        if not weight.isdecimal() or int(weight) < 1:
            raise ValueError(f"the weight of {name!r} must be a whole number from 1, not {weight!r}")
        pairs.append((name, int(weight)))
    return Weights(tuple(pairs), default)


def parse_pairs(value: object) -> tuple[tuple[str, str], ...]:
    """Names in lower case, each with what is said of it. A name may hold a port. Raises ValueError."""
    if isinstance(value, Mapping):
        items = [(str(name), str(said)) for name, said in value.items() if not isinstance(said, bool)]
        if len(items) != len(value):
            raise ValueError(f"{value!r} holds True or False")
    elif isinstance(value, str):
        items = []
        for text in filter(None, (part.strip() for part in value.split(","))):
            name, colon, said = text.rpartition(":")
            if not colon:
                raise ValueError(f"{text!r} is no pair")
            items.append((name, said))
    else:
        raise ValueError(f"must be pairs, not {value!r}")
    pairs = [(name.strip().lower(), said.strip()) for name, said in items]
    for name, said in pairs:
        if not name or not said:
            raise ValueError(f"{f'{name}:{said}'!r} is no pair")
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice!r} is there twice")
    return tuple(pairs)
