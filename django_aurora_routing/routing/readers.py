"""Choosing one of a cluster's reader aliases for a scope; keeps which of them failed lately in this process."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import threading
import time
from collections.abc import Iterator

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import routing_settings
from ..core.staleness import fresh_enough
from ..forks import in_each_child
from .clusters import Cluster
from .lag import lags_of, request_newer

logger = logging.getLogger(__name__)

ASIDE_SECONDS = 5.0
"""How long a reader that failed is left alone; doubled for each failure in a row, up to AT_MOST_ASIDE_SECONDS."""
AT_MOST_ASIDE_SECONDS = 60.0

_lock = threading.Lock()
_failed: dict[str, tuple[int, float]] = {}  # alias: (failures in a row, aside until)
_turns: dict[str, Iterator[int]] = {}  # alias of a writer: whose turn it is


def _after_fork() -> None:
    """Another thread of the parent may have held the lock, and would hold it in the child for ever."""
    global _lock
    _lock = threading.Lock()


in_each_child(_after_fork)


def set_aside(alias: str) -> None:
    """This reader failed: choose others for a while."""
    with _lock:
        failures = _failed.get(alias, (0, 0.0))[0] + 1
        seconds = min(ASIDE_SECONDS * 2 ** (failures - 1), AT_MOST_ASIDE_SECONDS)
        _failed[alias] = (failures, time.monotonic() + seconds)
    logger.warning("Reader %r failed; it is left alone for %.0f s", alias, seconds)


def is_aside(alias: str) -> bool:
    failed = _failed.get(alias)
    return failed is not None and time.monotonic() < failed[1]


def forget_failures() -> None:
    """Take every reader for healthy again."""
    with _lock:
        _failed.clear()


def fit_readers(cluster: Cluster, max_lag: float | None) -> tuple[str, ...]:
    """The readers that did not fail lately and are known to be at most `max_lag` seconds behind, if that is given.

    A reader whose lag nobody knows may be any time behind.
    """
    readers = cluster.readers
    if _failed:
        readers = tuple(alias for alias in readers if not is_aside(alias))
    if max_lag is None or not readers:
        return readers
    known = {alias: lags_of(alias) for alias in readers}
    now = time.monotonic()  # after they were told, which may take a while: the first time it imports a backend
    if not all(fresh_enough(lags, max_lag / 2, now) for lags in known.values()):
        request_newer(cluster)  # in time, and not all the time
    return tuple(alias for alias, lags in known.items() if fresh_enough(lags, max_lag, now))


def one_of(cluster: Cluster, readers: tuple[str, ...]) -> str:
    """One reader, by READER_STRATEGY and the cluster's weights."""
    if routing_settings().reader_strategy == "round_robin":
        with _lock:
            return readers[next(_turns.setdefault(cluster.writer, itertools.count())) % len(readers)]
    if cluster.weights:
        weights = dict(zip(cluster.readers, cluster.weights, strict=True))
        chosen = [weights[alias] for alias in readers]
        if any(chosen):
            return random.choices(readers, chosen)[0]
    return readers[0] if len(readers) == 1 else random.choice(readers)


def answers(alias: str) -> bool:
    """Whether the reader can be connected to; one that cannot is set aside.

    The connection is the one that the scope is about to use, so nothing is asked of a reader that is connected
    already. Where connecting is not possible here and now (an event loop runs in this thread), hope for the best.
    """
    if asyncio._get_running_loop() is not None:
        return True
    connection: BaseDatabaseWrapper = connections[alias]
    if connection.connection is not None:
        return True
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Cannot connect to reader %r: %s", alias, error)
        set_aside(alias)
        return False
    except AssertionError:  # Django's TestCases forbid databases that they do not name; the query itself will say so
        return True
    with _lock:
        _failed.pop(alias, None)
    return True
