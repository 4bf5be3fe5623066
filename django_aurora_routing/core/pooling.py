"""Reads OPTIONS["pool"]: how many sessions an alias keeps at each instance, by SQLAlchemy's names and psycopg's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .option_table import INT, SECONDS, OptionRow
from .option_values import Given, Problem, nearest, parse_value

_ROWS = {
    row.name: row
    for row in (
        OptionRow("pool_size", INT, active=True, limits=(1, 100_000)),
        OptionRow("max_overflow", INT, active=True, limits=(-1, 100_000)),
        OptionRow("timeout", SECONDS, active=True),
        OptionRow("recycle", SECONDS, active=True, limits=(-1, 1_000_000_000)),
        # Those of psycopg's pools, which Django has for PostgreSQL.
        OptionRow("min_size", INT, active=True, limits=(1, 100_000)),
        OptionRow("max_size", INT, active=True, limits=(1, 100_000)),
        OptionRow("max_lifetime", SECONDS, active=True),
    )
}
_SAME = (("pool_size", "min_size"), ("max_overflow", "max_size"), ("recycle", "max_lifetime"))
_NO_NEED = {
    **dict.fromkeys(
        ("pre_ping", "check"),
        "A session that has ended is found without asking; CONN_HEALTH_CHECKS asks as well.",
    ),
    **dict.fromkeys(("reset_on_return", "reset"), "Every session is made as new when it is given back."),
    "max_idle": "Sessions beyond pool_size are closed when they are given back; one that the server has ended is "
    "not handed out.",
    "use_lifo": "The session that was given back last is always the next.",
}


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What a pool may hold, for each instance. Times in seconds.

    `size` sessions are kept, and `overflow` more may be in use (-1: any number). `timeout` is how long a session is
    waited for, `lifetime` how old one may be to be handed out again.
    """

    size: int = 5
    overflow: int = 10
    timeout: float = 30.0
    lifetime: float = 3600.0


def read_pool(given: Given) -> PoolLimits | None:
    """The limits of the alias's pools; None without any. As with Django's for PostgreSQL, an empty dict is none."""
    value = given.of("pool")
    if value is True:
        return PoolLimits()
    if not isinstance(value, Mapping):
        if value is not None and value is not False:
            given.say("OPTIONS['pool']", f"must be True or a dictionary, not {value!r}.")
        return None
    if not value:
        return None
    numbers = {name: number for name, one in value.items() if (number := _number(name, one, given)) is not None}
    for ours, theirs in _SAME:
        if ours in numbers and theirs in numbers:
            given.say(f"OPTIONS['pool'][{theirs!r}]", f"says the same as {ours!r}.", "Leave one of them out.")
    limits = PoolLimits()
    size = int(numbers.get("pool_size", numbers.get("min_size", min(limits.size, numbers.get("max_size", math.inf)))))
    overflow = int(numbers.get("max_overflow", limits.overflow))
    if "max_size" in numbers:
        overflow = int(numbers["max_size"]) - size
        if overflow < 0:
            given.say("OPTIONS['pool']['max_size']", f"must not be less than the {size} sessions that are kept.")
    elif "min_size" in numbers and "max_overflow" not in numbers:
        overflow = 0  # a pool of a fixed size, as psycopg has it
    lifetime = numbers.get("recycle", numbers.get("max_lifetime", limits.lifetime))
    return PoolLimits(size, overflow, numbers.get("timeout", limits.timeout), math.inf if lifetime < 0 else lifetime)


def _number(name: object, value: object, given: Given) -> float | None:
    setting = f"OPTIONS['pool'][{name!r}]"
    if not isinstance(name, str) or name not in _ROWS:
        known = isinstance(name, str) and name in _NO_NEED
        message = "has no use here." if known else "is not an option of a pool."
        hint = _NO_NEED[str(name)] if known else nearest(str(name), _ROWS) or f"Use one of: {', '.join(_ROWS)}."
        given.say(setting, message, hint)
        return None
    found: list[Problem] = []
    number = parse_value(_ROWS[name], value, found)
    given.problems.extend(replace(problem, setting=setting) for problem in found)
    return number if isinstance(number, float) else None
