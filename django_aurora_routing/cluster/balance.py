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

from ..core.balance import Move, is_due_still, next_moves, pace
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

    What was granted and not taken up until the next grant is void, so nothing gathers; but for what was drawn by lot.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster: Cluster = weakref.proxy(cluster)
        self.after_fork()

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._rng = random.Random()  # not the parent's, or all children would draw the same lots
        self._granted: dict[str, tuple[Move, ...]] = {}  # by alias
        self._next_at = float("-inf")
        self._fit: dict[str, frozenset[Address]] = {}
        self._near: dict[str, frozenset[Address]] = {}

    @property
    def is_moving(self) -> bool:
        """Whether there are connections that should move."""
        return bool(self._granted)

    def look(self) -> bool:
        """Decide what may move; returns whether another look should come soon."""
        groups = self._by_alias()
        has_changed = [self._is_fit_for_another(alias, activities) for alias, activities in groups.items()]
        is_due, is_new = time.monotonic() >= self._next_at, False
        if is_due:
            granted = {alias: self._moves(alias, activities) for alias, activities in groups.items()}
            is_new = any(moves != self._granted.get(alias, ()) for alias, moves in granted.items())
            with self._lock:
                self._granted = {alias: moves for alias, moves in granted.items() if moves}
            if is_new:
                self._next_at = time.monotonic() + AGAIN
        if is_new or any(has_changed):
            self._cluster.reconsider()
        return is_new or not is_due

    def goal_for(self, activity: Activity) -> Address | None:
        """Where a connection at a safe point should go instead, if it is one of those that should move."""
        if not self._granted or activity.search is None or activity.address is None:
            return None
        with self._lock:
            alias, moves = activity.search.alias, self._granted.get(activity.search.alias, ())
            if (move := next((move for move in moves if move.source == activity.address), None)) is None:
                return None
            left = list(moves)
            left.remove(move)
            self._granted = {**self._granted, alias: tuple(left)}
            return move.goal

    def _by_alias(self) -> dict[str, list[Activity]]:
        """The connections that are meant for readers."""
        found: dict[str, list[Activity]] = {}
        for activity in self._cluster.watched():
            if (search := activity.search) is not None and (search.alias in found or search.candidates().wants_reader):
                found.setdefault(search.alias, []).append(activity)
        for known in (self._fit, self._near):
            for alias in known.keys() - found.keys():
                del known[alias]
        return found

    def _is_fit_for_another(self, alias: str, activities: list[Activity]) -> bool:
        """Whether other readers are fit for an alias than at the last look, so that who is on one has to leave it."""
        search = activities[0].search
        assert search is not None
        fit = frozenset(i.address for i in fit_readers(search.candidates().readers, search.preferences))
        before, self._fit[alias] = self._fit.get(alias), fit
        if before is None:  # the first look, and they have connected by what was known before it
            return any(a.connection is not None and a.address not in fit for a in activities)
        return before != fit

    def _moves(self, alias: str, activities: list[Activity]) -> tuple[Move, ...]:
        """What an alias's connections may do until the next grant."""
        search = activities[0].search
        assert search is not None
        readers, preferences, strategy = search.candidates().readers, search.preferences, search.options.reader_strategy
        near = frozenset(i.address for i in preferred_readers(readers, preferences))
        before, self._near[alias] = self._near.get(alias, near), near
        goals = settled(readers, preferences)
        targets = shares(strategy, goals, preferences.weights_for(strategy))
        # Those near the ceiling are left alone: neither filled nor emptied.
        counted = self._fit[alias] - (near - {i.address for i in goals})
        here = Counter(place for a in activities if (place := a.counts_for) in counted)  # connecting, too
        moves = next_moves(here, targets, near - before, pace(here.total()), self._rng)
        if moves:
            there = ", ".join(f"{address}: {here[address]}" for address in {**targets, **here})
            logger.debug("%s: %d connections of alias %r may move (%s)", self._cluster.key, len(moves), alias, there)
            return moves
        return tuple(move for move in self._granted.get(alias, ()) if is_due_still(move, here, targets))
