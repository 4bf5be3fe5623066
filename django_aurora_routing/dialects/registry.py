"""Finds the dialect of a server; the order is that in which they are asked for."""

from __future__ import annotations

from .aurora_mysql import AuroraMySQL
from .base import Ask, Dialect
from .mysql import SingleMySQL

_DETECTED: tuple[Dialect, ...] = (AuroraMySQL(), SingleMySQL())
_BY_NAME: dict[str, Dialect] = {dialect.name: dialect for dialect in _DETECTED} | {"rds-mysql": SingleMySQL()}


def find_dialect(name: str | None, ask: Ask) -> Dialect:
    """The dialect named by `wrapper_dialect`, or the first that the server at the other end of `ask` speaks."""
    if name is not None:
        return _BY_NAME[name]
    return next(dialect for dialect in _DETECTED if dialect.is_spoken_by(ask))
