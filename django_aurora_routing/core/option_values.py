"""Reads one value of OPTIONS by its row of the table; what is wrong with it comes out as a `Problem`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from .option_table import (
    BOOL,
    CHOICE,
    HOSTS,
    INT,
    MILLISECONDS,
    OPTION_TABLE,
    PAIRS,
    POOL,
    SECONDS,
    OptionRow,
)
from .secret import SECRET_NAMES, hidden


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a setting: which, what, and what to write instead."""

    setting: str
    message: str
    hint: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.setting}: {self.message} {self.hint}".strip()


@dataclass(frozen=True, slots=True)
class Given:
    """One alias's choices, in our units and by default where nothing is said; and where problems with them are noted.

    Each feature reads its own options from it: a function `read_...(given)` beside the value that it makes.
    """

    values: Mapping[str, object]
    problems: list[Problem]

    def of(self, name: str) -> object:
        return self.values[name] if self.values.get(name) is not None else OPTION_TABLE[name].default

    def number(self, name: str) -> float:
        return float(self.of(name))  # type: ignore[arg-type]

    def text(self, name: str) -> str | None:
        value = self.of(name)
        return None if value is None else str(value)

    def say(self, setting: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(setting, message, hint))


# By the unit in which the value is written. Nobody waits for longer than a million seconds, nor can all of Python and
# the driver; below a millisecond nothing could ever be done in time.
_LIMITS = {INT: (1, 1_000_000), SECONDS: (0.001, 1_000_000), MILLISECONDS: (1, 1_000_000_000)}


def nearest(name: str, known: Collection[str]) -> str:
    """A hint that names the nearest right spelling, or lists nothing when there is none."""
    matches = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {matches[0]!r}?" if matches else ""


def parse_value(row: OptionRow, value: object, problems: list[Problem]) -> object:
    """The value in our units, or None (meaning the default) after having noted a problem."""
    if value is None or row.kind in (HOSTS, PAIRS, POOL) or (value == "" and row.default == ""):
        return value
    setting = f"OPTIONS[{row.name!r}]"
    if row.kind == BOOL:
        if isinstance(value, bool):
            return value
        if str(value).strip().lower() in ("true", "false"):
            return str(value).strip().lower() == "true"
        problems.append(Problem(setting, f"must be True or False, not {value!r}.", ""))
        return None
    if row.kind in (INT, SECONDS, MILLISECONDS):
        try:
            if isinstance(value, bool):
                raise TypeError
            number = float(value)  # type: ignore[arg-type]
            if number != number or number in (float("inf"), float("-inf")):
                raise ValueError
            if row.kind == INT and number != int(number):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            unit = "a whole number" if row.kind == INT else f"a number of {row.kind}"
            problems.append(Problem(setting, f"must be {unit}, not {value!r}.", ""))
            return None
        least, most = row.limits or _LIMITS[row.kind]
        if row.active and not least <= number <= most:
            problems.append(Problem(setting, f"must be from {least:g} to {most:.0f}, not {value!r}.", ""))
            return None
        return number / 1000 if row.kind == MILLISECONDS else number
    if row.kind == CHOICE:
        text = str(value).strip()
        folded = text.lower()
        if (spelt := next((s for s in (folded, folded.replace("-", "_")) if s in row.choices), None)) is not None:
            return spelt
        problem = f"{text!r} is not a choice. {nearest(folded, row.choices)}".strip()
        problems.append(Problem(setting, problem, f"Use one of: {', '.join(row.choices)}."))
        return None
    if row.active and (isinstance(value, bool) or not isinstance(value, (str, int))):
        hint = "Write the names in one text, with commas between them." if row.name == "plugins" else ""
        shown = "" if row.name in SECRET_NAMES else f", not {value!r}"
        problems.append(Problem(setting, f"must be text{shown}.", hint))
        return None
    return hidden(row.name, str(value))
