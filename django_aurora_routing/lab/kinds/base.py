"""Owns what the kinds of cluster share: one member as clients are told of it, and the reading of statements' text."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Member:
    """One instance as the cluster publishes it. `age` is seconds since the instance last reported.

    `state` is the lab's own word for it, or what `report()` has set. `server_id` is its server's `@@server_id`.
    """

    id: str
    is_writer: bool
    session_id: str
    age: float = 0.0
    lag_ms: float = 0.0
    cpu: float = 0.0
    host: str = ""
    port: int = 0
    server_id: int = 0
    state: str = "running"
    is_cut_off: bool = False  # from the other members, not from its clients


Members = Callable[[], Sequence[Member]]


class Session(Protocol):
    """One client's statements on one instance."""

    @property
    def waits_for_all(self) -> bool:
        """Whether each statement is answered from all that was committed before it came."""

    def rewrite(self, statement: bytes) -> bytes:
        """Return the statement to send to MariaDB; the very same bytes where nothing is asked that it cannot answer."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of cluster: its name, and what its instances answer that a MariaDB server does not.

    A statement without one of `needles`, in lower case, is passed on unread. `session` makes what reads the others,
    for a client of the instance of that id; None where there is nothing to be rewritten. `options` are
    for the servers.
    """

    name: str
    needles: tuple[bytes, ...] = ()
    session: Callable[[str, Members], Session] | None = None
    options: tuple[str, ...] = ()


class Substitution:
    """Puts something else in the place of what a pattern finds, but not within strings, comments and quoted names."""

    waits_for_all = False

    def __init__(self, pattern: bytes, answer: "Callable[[re.Match[bytes]], bytes]") -> None:
        self._pattern = re.compile(pattern + b"|" + TEXT, re.IGNORECASE | re.DOTALL)
        self._answer = answer

    def rewrite(self, statement: bytes) -> bytes:
        return self._pattern.sub(lambda match: self._answer(match) if match.lastgroup else match[0], statement)


# What may hold a needle but asks nothing: strings, comments, other quoted names.
TEXT = rb"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`|/\*.*?\*/|--(?=\s|$)[^\n]*|\#[^\n]*"""

_FOLLOWED_BY_ALIAS = re.compile(
    rb"\s*(?:AS\b|`|(?!(?:WHERE|ORDER|GROUP|HAVING|LIMIT|UNION|EXCEPT|INTERSECT|JOIN|INNER|LEFT|RIGHT|CROSS|NATURAL"
    rb"|STRAIGHT_JOIN|ON|USING|FOR|INTO|PROCEDURE|OFFSET|FETCH|LOCK)\b)[a-z_])",
    re.IGNORECASE,
)


def table_pattern(schema: bytes, *names: bytes) -> bytes:
    """A pattern for these tables of a schema, with or without backticks; its group `table` is the name."""
    return rb"(?<![\w$.`])`?%s`?\s*\.\s*`?(?P<table>%s)`?(?![\w$])" % (schema, b"|".join(names))


def derived_table(match: "re.Match[bytes]", rows: Sequence[bytes]) -> bytes:
    """Text that stands for a table found by `table_pattern`, with these rows (each a SELECT with named columns)."""
    end = match.end()
    if match.string[end : end + 1] == b".":
        return match["table"].lower()  # it qualifies a column
    named = _FOLLOWED_BY_ALIAS.match(match.string, end) is not None
    return b"(" + b" UNION ALL ".join(rows) + b")" + (b"" if named else b" AS " + match["table"].lower())


def literal(text: str) -> bytes:
    return b"'" + text.replace("\\", "\\\\").replace("'", "''").encode() + b"'"
