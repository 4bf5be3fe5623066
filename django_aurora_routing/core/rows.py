"""The rows of an answer together with the names of its columns, which some statements give in an order of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class Rows(tuple[Sequence[Any], ...]):
    """The rows that a server answered. `names` are its columns'."""

    names: tuple[str, ...]

    def __new__(cls, rows: Iterable[Sequence[Any]] = (), names: Iterable[object] = ()) -> Rows:
        self = super().__new__(cls, rows)
        self.names = tuple(map(text, names))
        return self

    @property
    def by_name(self) -> list[dict[str, Any]]:
        """Each row by its columns' names, in lower case."""
        return [{name.lower(): value for name, value in zip(self.names, row, strict=True)} for row in self]


def is_on(value: object) -> bool:
    """Whether a server's variable that is 0 or 1 is not 0; of `@@read_only`, whether it refuses writes.

    MariaDB from 12.0.1 on gives that as a word, and knows others than OFF and ON, all of which refuse.
    https://mariadb.com/docs/server/server-management/variables-and-modes/server-system-variables#read_only
    """
    return text(value).upper() not in ("0", "OFF")


def text(value: object) -> str:
    """A name or a value as text; drivers give some as bytes."""
    return value.decode() if isinstance(value, (bytes, bytearray)) else str(value)
