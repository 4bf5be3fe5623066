"""Keeps the member lists of a cluster's custom endpoints up to date: a thread for each, while it is in use."""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING

from ..core.custom_endpoints import CustomEndpoint, Members
from ..core.logins import Unavailable
from ..core.pacing import Backoff
from .executor import BackgroundThread

if TYPE_CHECKING:
    from .cluster import Cluster

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 60.0  # seconds between two calls that fail, but for a list that is asked for less often anyway


class MemberList:
    """The members of one endpoint. Once known, a list holds until RDS says otherwise, however long it says nothing."""

    def __init__(self, cluster: Cluster, endpoint: CustomEndpoint) -> None:
        self._cluster = cluster  # held weakly by who made this
        self._endpoint = endpoint
        self.members: Members | None = None
        self.after_fork()

    def after_fork(self) -> None:
        self._problem = ""
        self._rng = random.Random()
        self._backoff = self._at_first = Backoff(1.0, max(_LONGEST_PAUSE, self._endpoint.refresh))
        self._used_at = self._due_at = float("-inf")
        self._changed = threading.Condition()
        self._thread = BackgroundThread(f"aurora-custom-endpoint {self._endpoint.name}", self, MemberList._turn)

    def use(self) -> str:
        """Somebody connects by it: from now on it is refreshed. Waits for the first list, as long as the options say.

        Returns why there still is none, should the options make one needed; else nothing.
        """
        self._used_at = time.monotonic()
        if not self._thread.is_running:
            self._thread.wake()
        wait = self._endpoint.wait
        if self.members is not None or wait is None:
            return ""
        with self._changed:
            if self._changed.wait_for(lambda: self.members is not None, wait):
                return ""
        return self._problem or f"the members of {self._endpoint} are not known: no answer in time"

    @property
    def is_running(self) -> bool:
        return self._thread.is_running

    def stop(self, until: float) -> None:
        self._thread.stop(until - time.monotonic())

    def _turn(self) -> float | None:
        now = time.monotonic()
        if self._is_used():
            self._used_at = now
        elif now - self._used_at > self._endpoint.idle:
            return None
        if now < self._due_at:
            return self._due_at - now  # whoever woke it up may not make it ask more often
        try:
            from ..aws.custom_endpoints import fetch_members  # boto3 is imported at first use

            members = fetch_members(self._endpoint)
        except Unavailable as exc:
            self._backoff = self._backoff.failed(now, self._rng.random())
            self._problem, self._due_at = str(exc), self._backoff.due_at
            known = "the last list holds" if self.members is not None else "there is no list yet"
            logger.warning("%s; %s", exc, known)
        else:
            self._backoff, self._due_at = self._at_first, now + self._endpoint.refresh
            self._take(members)
        return max(0.0, self._due_at - time.monotonic())

    def _is_used(self) -> bool:
        """Whether there is a connection that was made by it."""
        return any(
            activity.connection is not None
            and activity.search is not None
            and activity.search.options.custom_endpoint == self._endpoint
            for activity in self._cluster.watched()
        )

    def _take(self, members: Members) -> None:
        with self._changed:
            before, self.members = self.members, members
            self._changed.notify_all()
        if members != before:
            logger.info("%s has these members now: %s", self._endpoint, members)
            self._cluster.reconsider()


class MemberLists:
    """Those of one cluster, each made at its first use."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster: Cluster = weakref.proxy(cluster)
        self._lists: dict[CustomEndpoint, MemberList] = {}

    def of(self, endpoint: CustomEndpoint) -> MemberList:
        if (found := self._lists.get(endpoint)) is None:
            found = self._lists.setdefault(endpoint, MemberList(self._cluster, endpoint))
        return found

    def stop(self, until: float) -> None:
        for members in tuple(self._lists.values()):
            members.stop(until)

    def after_fork(self) -> None:
        for members in self._lists.values():
            members.after_fork()
