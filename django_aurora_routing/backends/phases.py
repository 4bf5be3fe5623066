"""What a database wrapper is doing at the moment, which decides what a lost connection means."""

from __future__ import annotations

import enum
from typing import Protocol


class HasPhase(Protocol):
    phase: Phase


class Phase(enum.Enum):
    """What the wrapper itself is doing; a lost connection means something else in each."""

    STATEMENT = "running statements"
    CONNECT = "connecting"
    CHECK = "checking the connection"
    BEGIN = "beginning a transaction"
    COMMIT = "committing"
    ROLLBACK = "rolling back"
    END = "going back to autocommit"


class InPhase:
    """A phase for the length of a `with` block. A class: a generator would cost a microsecond at each BEGIN."""

    __slots__ = ("_before", "_phase", "_wrapper")

    def __init__(self, wrapper: HasPhase, phase: Phase) -> None:
        self._wrapper = wrapper
        self._phase = phase

    def __enter__(self) -> None:
        self._before = self._wrapper.phase
        self._wrapper.phase = self._phase

    def __exit__(self, *exc_info: object) -> None:
        self._wrapper.phase = self._before
