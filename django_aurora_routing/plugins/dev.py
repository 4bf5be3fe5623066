"""The plugin `dev`: makes connects and statements fail on purpose, for tests of what an application does then.

It does nothing unless one of the blocks of `testing.faults` is in force.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..core.endpoints import Address
from ..forks import in_each_child
from .base import Execute, Plugin

Moment = Literal["connect", "execute", "cut"]


@dataclass(eq=False)
class Fault:
    """One fault that is in force: what is raised, how often still, and how often it has been.

    It is for statements that hold `matching` as text; of those, the next `remaining`.
    """

    alias: str
    moment: Moment
    error: BaseException | Callable[[], BaseException] | None
    remaining: int
    matching: str = ""
    happened: int = 0


_lock = threading.Lock()
_in_force: list[Fault] = []


def put_in_force(fault: Fault) -> None:
    with _lock:
        _in_force.append(fault)


def withdraw(fault: Fault) -> None:
    with _lock:
        _in_force.remove(fault)


def _taken(alias: str, moment: Moment, sql: str = "") -> Fault | None:
    """The first fault that is due now, counted; the oldest block's first."""
    if not _in_force:
        return None
    with _lock:
        for fault in _in_force:
            if (fault.alias, fault.moment) == (alias, moment) and fault.remaining > 0 and fault.matching in sql:
                fault.remaining -= 1
                fault.happened += 1
                return fault
    return None


class FaultInjection(Plugin):
    """See `testing.faults`."""

    def connect(self, address: Address, connect: Callable[[], Any]) -> Any:
        self._meet("connect")
        return connect()

    def execute(self, execute: Execute, sql: Any, params: Any, many: bool, context: Mapping[str, Any]) -> Any:
        self._meet("execute", str(sql))
        if _taken(self.alias, "cut", str(sql)) is not None:
            context["connection"].cut()
        return execute(sql, params, many, context)

    def _meet(self, moment: Moment, sql: str = "") -> None:
        fault = _taken(self.alias, moment, sql)
        if fault is not None and fault.error is not None:
            raise fault.error if isinstance(fault.error, BaseException) else fault.error()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


in_each_child(_after_fork_in_child)
