"""A password that does not show itself where values are shown: in reprs, on error pages, in error trackers."""

from __future__ import annotations

from collections.abc import Collection

SECRET_NAMES = frozenset({"password", "passwd", "password1", "password2", "password3", "idp_password"})
"""The driver's arguments that are passwords, and the option that is one."""


class Secret(str):
    """Text like any other, but for its repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"


def hidden(name: str, value: object) -> object:
    """The value of an argument of the driver, as a Secret if it is a password."""
    return Secret(value) if name in SECRET_NAMES and isinstance(value, str) else value


def names_an_account(names: Collection[str]) -> bool:
    """Whether these arguments of the driver have a user or a password among them."""
    return "user" in names or not SECRET_NAMES.isdisjoint(names)
