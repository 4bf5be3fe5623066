"""The plugins `connect_time` and `execute_time`: how often, how long, how long at the most, by alias and instance."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..core.endpoints import Address
from ..core.timings import Timing, added
from ..forks import in_each_child
from .base import Execute, Plugin

logger = logging.getLogger(__name__)

KEPT = 1000
"""How many timings are kept: aliases may be made without end, and the oldest are forgotten then."""

_Key = tuple[str, str, str]
_lock = threading.Lock()
_timings: dict[_Key, Timing] = {}


def timings() -> tuple[Timing, ...]:
    """What has been measured in this process since its start, or since `reset_timings()`. Each is a value."""
    with _lock:
        return tuple(_timings.values())


def reset_timings() -> None:
    """Begin to measure anew."""
    with _lock:
        _timings.clear()


def _add(what: str, alias: str, instance: str, seconds: float, failed: bool) -> None:
    key = (what, alias, instance)
    with _lock:
        old = _timings.get(key)
        if old is None and len(_timings) >= KEPT:
            del _timings[next(iter(_timings))]
        _timings[key] = added(old or Timing(what, alias, instance), seconds, failed=failed)
    outcome = "failed" if failed else "took"
    logger.debug("alias %r, %s: %s %s %.1f ms", alias, instance, what, outcome, 1000 * seconds)


def _timed(what: str, alias: str, instance: str, call: Callable[[], Any]) -> Any:
    failed, began = True, time.perf_counter()
    try:
        result = call()
        failed = False
        return result
    finally:
        _add(what, alias, instance, time.perf_counter() - began, failed)


class ConnectTime(Plugin):
    """Times each connect to one instance, its login included."""

    def connect(self, address: Address, connect: Callable[[], Any]) -> Any:
        return _timed("connect", self.alias, str(address), connect)


class ExecuteTime(Plugin):
    """Times each statement, with all that was done about it: a failover in its midst, a statement sent again."""

    address: Address | None = None

    def connect(self, address: Address, connect: Callable[[], Any]) -> Any:
        connection = connect()
        self.address = address
        return connection

    def execute(self, execute: Execute, sql: Any, params: Any, many: bool, context: Mapping[str, Any]) -> Any:
        # A session that a pool had kept was not connected to here.
        address = context["connection"].place or self.address
        return _timed("execute", self.alias, str(address), lambda: execute(sql, params, many, context))


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _timings.clear()


in_each_child(_after_fork_in_child)
