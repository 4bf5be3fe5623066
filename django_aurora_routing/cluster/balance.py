"""Lets the kept connections of one process and cluster move between readers, a few at a time, until all have their
share; moves none itself."""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections import Counter
from typing import TYPE_CHECKING

from ..core.balance import next_moves, pace
from ..core.endpoints import Address
from ..core.preferences import fit_readers, preferred_readers, settled
from ..core.selection import shares
from .activity import Activity

if TYPE_CHECKING:
    from .cluster import Cluster

logger = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds between two grants while connections are moving; `core.balance.pace` tells how many may move by one."""


class Balance:
    """Looked at after each refresh of the topology, in its monitor's thread; asked by connections at safe points.

    What was granted and not taken up until the next grant is void, so nothing gathers.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster: Cluster = weakref.proxy(cluster)
        self._rng = random.Random()
        self.after_fork()

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._granted: dict[tuple[str, Address], list[Address]] = {}
        self._granted_at = float("-inf")
        self._known: dict[str, tuple[frozenset[Address], frozenset[Address]]] = {}  # fit, and candidates, by alias

    @property
    def is_moving(self) -> bool:
        """Whether there are connections that should move."""
        return bool(self._granted)

    def look(self) -> bool:
        """Decide what may move; returns whether another look should come soon."""
        granted: dict[tuple[str, Address], list[Address]] = {}
        is_new = False
        for alias, activities in self._by_alias().items():
            is_new |= self._look_at(alias, activities, granted)
        now = time.monotonic()
        if is_due := now - self._granted_at >= AGAIN:
            with self._lock:
                self._granted = granted
            if granted:
                self._granted_at = now
        if is_new or (is_due and granted):
            self._cluster.reconsider()
        return bool(granted)

    def goal_for(self, activity: Activity) -> Address | None:
        """Where a connection at a safe point should go instead, if it is one of those that should move."""
        if not self._granted or activity.search is None or activity.address is None:
            return None
        with self._lock:
            goals = self._granted.get((activity.search.alias, activity.address))
            return goals.pop() if goals else None

    def _by_alias(self) -> dict[str, list[Activity]]:
        """The connections that are meant for readers."""
        found: dict[str, list[Activity]] = {}
        for activity in self._cluster.watched():
            if (search := activity.search) is not None and (search.alias in found or search.candidates().wants_reader):
                found.setdefault(search.alias, []).append(activity)
        self._known = {alias: known for alias, known in self._known.items() if alias in found}
        return found

    def _look_at(
        self, alias: str, activities: list[Activity], granted: dict[tuple[str, Address], list[Address]]
    ) -> bool:
        """Grant an alias its moves. Returns whether other readers are fit for it than at the last look."""
        search = activities[0].search
        assert search is not None
        readers, preferences, strategy = search.candidates().readers, search.preferences, search.options.reader_strategy
        fit = frozenset(i.address for i in fit_readers(readers, preferences))
        near = frozenset(i.address for i in preferred_readers(readers, preferences))
        before = self._known.get(alias)
        self._known[alias] = fit, near
        goals = settled(readers, preferences)
        targets = shares(strategy, goals, preferences.weights_for(strategy))
        left_alone = near - {i.address for i in goals}  # near the ceiling: neither filled nor emptied
        counts: Counter[Address] = Counter()
        for activity in activities:
            address = activity.address if activity.connection is not None else None
            if address in fit and address not in left_alone:
                counts[address] += 1
        joined = near - before[1] if before is not None else frozenset()
        moves = next_moves(counts, targets, joined, pace(counts.total()), self._rng)
        for move in moves:
            granted.setdefault((alias, move.source), []).append(move.goal)
        if moves:
            there = ", ".join(f"{address}: {counts[address]}" for address in {**targets, **counts})
            logger.debug("%s: %d connections of alias %r may move (%s)", self._cluster.key, len(moves), alias, there)
        return before is not None and before[0] != fit
