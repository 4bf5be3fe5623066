"""Units of work (a request, a task, a command): which reader serves one, and what it has written.

A scope reads from one reader, so that time never runs backwards in it; once it has written to a cluster it reads
from the writer until its readers have caught up. It may be used by several threads, one after the other
(sync_to_async) or at once: what it keeps are single values in dicts.

Code outside every request and task has a scope too, one for each thread or asyncio task, made at the first
need. Its pins end by time like all others.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from django.core.signals import request_finished, request_started
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate, pre_migrate

from ..conf import on_settings_changed, routing_settings
from ..core.staleness import is_caught_up
from . import readers
from .clusters import Cluster, cluster_named, clusters
from .context import NO_RULES, Frame, Memo, current, decisions, owners, remove, restore
from .lag import lags, request_newer


class Scope:
    """One unit of work. Made by `scope()`, by requests, by tasks; `current_scope()` finds it."""

    database = None  # it is about none

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.readers: dict[str, str] = {}
        """The reader of each cluster, by the cluster's name."""
        self.served_by: dict[str, Any] = {}
        """The instance that each reader was when it last served a read, by its alias. For routing/moved_reads."""
        self.memo: Memo = {}
        self.changes = 0
        """Counts what may have made the memo wrong, for those who are about to add to it."""
        self.is_request = False
        self.non_atomic: frozenset[str] = frozenset()
        """Aliases for which the request's view opted out of ATOMIC_REQUESTS."""
        self.reads_from_writer = False
        self._committed: dict[str, float] = {}  # by time.monotonic()
        self._last_commit: float | None = None
        self._uncommitted: dict[weakref.ref[BaseDatabaseWrapper], str] = {}

    def __repr__(self) -> str:
        return f"Scope({self.name!r})"

    def framed(self, outer: Frame | None) -> Frame:
        """See `context.Owner`. The blocks in force stay in force in a new scope."""
        reads, writes, rules = (None, None, None) if outer is None else (outer[0], outer[1], outer[6])
        if decisions.isEnabledFor(logging.DEBUG):
            rules = (rules or NO_RULES)._replace(is_logged=True)
        return (reads, writes, self.memo, outer, self, self, rules)

    def forget_memo(self) -> None:
        """Something may have made it wrong. In this order: see `decision.remembered`."""
        self.changes += 1
        self.memo.clear()

    # -- what it has written

    def wrote(self, cluster: str, connection: BaseDatabaseWrapper | None = None) -> None:
        """A write was executed, by this connection; in a transaction it counts from COMMIT on."""
        if connection is None or connection.autocommit:
            self._commit(cluster)
        else:
            self._uncommitted[weakref.ref(connection)] = cluster
            _watch(connection, self)
            self.forget_memo()

    def ended(self, connection: BaseDatabaseWrapper, *, committed: bool) -> None:
        """The connection's transaction has ended, in which it wrote."""
        cluster = self._uncommitted.get(known := weakref.ref(connection))
        if cluster is not None and committed:
            self._commit(cluster)
        self._uncommitted.pop(known, None)

    def _commit(self, cluster: str) -> None:
        """The memo comes last, as other threads of the scope may be adding to it what they have found before."""
        self._last_commit = self._committed[cluster] = time.monotonic()
        self.forget_memo()

    def last_written(self) -> float | None:
        """When it last wrote itself, by time.monotonic(): now while it is in a transaction in which it has written.

        What it has adopted does not count, nor does what was rolled back.
        """
        return time.monotonic() if any(map(self._is_writing, self._written())) else self._last_commit

    def must_read_its_writes(self, cluster: Cluster) -> bool:
        """Whether the readers may be missing something that this scope wrote."""
        if self._is_writing(cluster.name):
            return True
        committed_at = self._recent_commit(cluster.name)
        policy = routing_settings()
        if committed_at is None or policy.pin_policy == "reader_session":
            return False
        if policy.pin_policy == "lag" and is_caught_up(committed_at, lags(cluster), policy.pin_floor_seconds):
            return False
        if policy.pin_policy == "lag":
            request_newer(cluster)
        return True

    def has_readers_wait(self, cluster: str) -> bool:
        """With "reader_session": whether what it reads from a reader has to wait for what it wrote."""
        return self._recent_commit(cluster) is not None

    def _recent_commit(self, cluster: str) -> float | None:
        """When it last wrote to the cluster, unless that is longer ago than any pin lasts."""
        committed_at = self._committed.get(cluster)
        if committed_at is None or time.monotonic() - committed_at >= routing_settings().pin_seconds:
            return None
        return committed_at

    def _is_writing(self, cluster: str) -> bool:
        """Whether it is in a transaction in which it has written to the cluster."""
        for known in [known for known, name in list(self._uncommitted.items()) if name == cluster]:
            connection = known()
            if connection is not None and not connection.autocommit:
                return True
            # It has ended, and how was not seen: by cursor.execute("COMMIT"), or with autocommit switched on.
            self._commit(cluster)
            self._uncommitted.pop(known, None)
        return False

    def _written(self) -> set[str]:
        """The clusters that it has written to in transactions that may be open."""
        return set(self._uncommitted.copy().values())

    def is_pinned(self, cluster: str) -> bool:
        """Whether it has written to the cluster and the pin has not ended yet, by what is known now."""
        known = clusters().by_name.get(cluster)
        return known is not None and self.must_read_its_writes(known)

    def unpin(self, cluster: str) -> None:
        """Forget what the scope has written to the cluster."""
        self._committed.pop(cluster, None)
        for known in [known for known, name in list(self._uncommitted.items()) if name == cluster]:
            self._uncommitted.pop(known, None)

    def commits(self) -> dict[str, float]:
        """When each cluster was last written, in seconds since the epoch, for those whose pin may still be on.

        What a transaction has written that is still open counts as committed now: a job that is queued in it
        should not start without.
        """
        now = time.monotonic()
        skew, limit = time.time() - now, now - routing_settings().pin_seconds
        open_now = [name for name in self._written() if self._is_writing(name)]
        written = {**self._committed, **dict.fromkeys(open_now, now)}
        return {name: at + skew for name, at in written.items() if at > limit}

    def adopt(self, commits: Mapping[str, float]) -> None:
        """Read one's own writes of earlier: take over what `commits()` of another scope told.

        Times that a clock ahead of ours has put into the future count as now.
        """
        now, skew = time.monotonic(), time.time() - time.monotonic()
        for name, at in commits.items():
            at = min(at - skew, now)
            if at > self._committed.get(name, at - 1):
                self._committed[name] = at
        self.forget_memo()


def current_scope() -> Scope:
    """The scope that this code belongs to."""
    scope: Scope = (current() or opened())[5]
    return scope


def opened() -> Frame:
    """Begin a chain of frames where there is none, with a scope of its own."""
    frame = Scope().framed(None)
    restore(frame)
    return frame


class scope:
    """Open a unit of work of its own: `with scope("import"): ...`, also `async with`.

    It chooses its readers anew and has written nothing yet. Requests, Celery tasks and Django's tasks open one by
    themselves; so does nobody else. Inside, `in_database` blocks around it stay in force.
    """

    __slots__ = ("_entered", "name")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._entered: list[Scope] = []

    def __enter__(self) -> Scope:
        entered = Scope(self.name)
        self._entered.append(entered)
        restore(entered.framed(current() or opened()))
        return entered

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    async def __aenter__(self) -> Scope:
        return self.__enter__()

    async def __aexit__(self, *exc_info: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        """The innermost of its scopes that is in force here: other threads and tasks may be in others."""
        for owner in owners():
            if isinstance(owner, Scope) and owner in self._entered:
                self._entered.remove(owner)
                remove(owner)
                return


def mark_written(cluster: str = "default") -> None:
    """Read from the cluster's writer from now on, as after a write: for writes that Django did not see."""
    current_scope().wrote(cluster_named(cluster).name)


def unpin(cluster: str = "default") -> None:
    """Read from readers again although this scope has written to the cluster."""
    current_scope().unpin(cluster_named(cluster).name)


def note_write(cluster: str, connection: BaseDatabaseWrapper) -> None:
    """A statement that writes was executed on the cluster's writer. For routing/guard."""
    current_scope().wrote(cluster, connection)


def set_aside(cluster: str, alias: str) -> None:
    """The reader failed: this scope takes another from now on, and so do new ones for a while. For routing/guard."""
    readers.set_aside(alias)
    scope = current_scope()
    if scope.readers.get(cluster) == alias:
        del scope.readers[cluster]
    scope.forget_memo()


# -- commits. Django has no signal for them, and its on_commit() hooks are the users': tests count them.

_waiting: weakref.WeakKeyDictionary[BaseDatabaseWrapper, weakref.WeakSet[Scope]] = weakref.WeakKeyDictionary()


def _watch(connection: BaseDatabaseWrapper, scope: Scope) -> None:
    """Tell the scope how the connection's transaction ends."""
    waiting = _waiting.get(connection)
    if waiting is None:
        waiting = _waiting[connection] = weakref.WeakSet()
    waiting.add(scope)
    if "commit" in vars(connection):
        return
    known, cls = weakref.ref(connection), type(connection)

    def commit() -> None:
        try:
            cls.commit(wrapper := _alive(known))
        finally:  # when it fails, too: the server may have done it
            _end(wrapper, committed=True)

    def rollback() -> None:
        _end(wrapper := _alive(known), committed=False)
        cls.rollback(wrapper)

    vars(connection).update(commit=commit, rollback=rollback)


def _alive(reference: weakref.ref[BaseDatabaseWrapper]) -> BaseDatabaseWrapper:
    wrapper = reference()
    assert wrapper is not None, "its own method is being called"
    return wrapper


def _end(connection: BaseDatabaseWrapper, *, committed: bool) -> None:
    for scope in _waiting.pop(connection, ()):
        scope.ended(connection, committed=committed)


# -- requests and migrations


def _begin_request(**_: Any) -> None:
    for owner in list(owners()):
        if isinstance(owner, Scope) and owner.is_request:  # it goes on, or its end came in another context, or never
            remove(owner)
            current_scope().adopt(owner.commits())
    scope = Scope("request")
    scope.is_request = True
    restore(scope.framed(current() or opened()))


def _end_request(**_: Any) -> None:
    """Also of blocks that were entered in the request and never left."""
    frame = current()
    while frame is not None:
        owner, frame = frame[4], frame[3]
        if isinstance(owner, Scope) and owner.is_request:
            restore(frame)
            current_scope().adopt(owner.commits())  # a test goes on after the request that it made


def _begin_migrating(**_: Any) -> None:
    """Data migrations read what the step before has just written, or a table that it has just made."""
    scope = current_scope()
    scope.forget_memo()
    scope.reads_from_writer = True


def _end_migrating(**_: Any) -> None:
    current_scope().reads_from_writer = False


def _forget() -> None:
    """Settings have changed: choose anew. Other threads keep what they know until their scope ends."""
    for owner in owners():
        if isinstance(owner, Scope):
            owner.forget_memo()
            owner.readers.clear()
            owner.served_by.clear()


def install() -> None:
    """Open a scope for every request, and read from writers while migrating. Called when Django starts."""
    request_started.connect(_begin_request, dispatch_uid=_begin_request)
    request_finished.connect(_end_request, dispatch_uid=_end_request)
    pre_migrate.connect(_begin_migrating, dispatch_uid=_begin_migrating)
    post_migrate.connect(_end_migrating, dispatch_uid=_end_migrating)


on_settings_changed(_forget, "DATABASES", "AURORA_ROUTING", "DATABASE_ROUTERS")
