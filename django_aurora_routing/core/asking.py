"""Whom the topology monitor asks: `monitoring_connection_priority`, and for a global database the one with `gdb_`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .endpoints import Address
from .option_values import Given, nearest
from .regions import is_region
from .topology import Instance, Role

PRIMARY, SECONDARY = "primary", "secondary"


@dataclass(frozen=True, slots=True)
class Preference:
    """A kind of instance: of this role, or of either; in a region, in the writer's or in any other, or anywhere."""

    role: Role | None = None
    where: str = ""

    def fits(self, instance: Instance, primary: str) -> bool:
        if self.role not in (None, instance.role):
            return False
        if self.where in (PRIMARY, SECONDARY):
            return (instance.region == primary) is (self.where == PRIMARY)
        return self.where in ("", instance.region)


_ROLES = {"strict-writer": Role.WRITER, "strict-reader": Role.READER}
_OF_A_REGION = ("strict-writer-primary", "strict-reader-primary", "strict-reader-secondary")
_ANYWHERE = {**{name: Preference(role) for name, role in _ROLES.items()}, "writer-or-reader": Preference()}

DEFAULT_PRIORITY = (Preference(Role.READER), Preference(Role.WRITER))
"""A reader first: a connection to one outlives the writer, and every instance knows of all."""


def default_of_region(region: str) -> tuple[Preference, ...]:
    """For a global database: a reader first, and of those the ones that are near, where that is known."""
    return (*((Preference(Role.READER, region),) if region else ()), *DEFAULT_PRIORITY)


def read_priority(given: Given) -> tuple[Preference, ...]:
    """`strict-writer`, `strict-reader` and `writer-or-reader`, with commas; `_` may stand for `-`."""
    return _read(given, "monitoring_connection_priority", _ANYWHERE.get, _ANYWHERE) or DEFAULT_PRIORITY


def read_global_priority(given: Given) -> tuple[Preference, ...]:
    """`strict-writer-primary`, `strict-reader-secondary`, `strict-reader-eu-west-1`, `eu-west-1` and the like.

    Empty where nothing is said.
    """
    return _read(given, "gdb_monitoring_connection_priority", _of_region, _OF_A_REGION)


def _of_region(name: str) -> Preference | None:
    for prefix, role in _ROLES.items():
        where = name.removeprefix(f"{prefix}-")
        if where != name:
            is_place = where == PRIMARY or is_region(where) or (where == SECONDARY and role is Role.READER)
            return Preference(role, where) if is_place else None
    return Preference(None, name) if is_region(name) else None


def _read(
    given: Given, option: str, parse: Callable[[str], Preference | None], choices: Iterable[str]
) -> tuple[Preference, ...]:
    found = []
    for name in (given.text(option) or "").split(","):
        if not (plain := name.strip().lower().replace("_", "-")):
            continue
        if (preference := parse(plain)) is not None:
            found.append(preference)
        else:
            hint = nearest(plain, [*choices]) or f"Use {', '.join(choices)}."
            given.say(f"OPTIONS[{option!r}]", f"{plain!r} is not a choice.", hint)
    return tuple(found)


def in_order(priority: Sequence[Preference], instances: Sequence[Instance], primary: str = "") -> list[Address]:
    """Those that are asked, one after the other until one has answered; who fits nothing comes last.

    `primary` is the region of the writer. Of those that fit alike, the first comes first.
    """
    kinds = (*priority, Preference())
    return list(dict.fromkeys(i.address for kind in kinds for i in instances if kind.fits(i, primary)))
