"""The order of reasons by which a read or a write gets its alias.

`read_from` and `write_to` answer with the reason too, for `explain_route`; the routers ask for the alias alone.
What a scope has found out about plain reads is kept in its memo, which everything that could change the answer
clears: a write, a failed reader, other settings. Only a transaction is asked about on every read.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from ..conf import routing_settings
from . import dynamic, readers
from .clusters import SETTING, Cluster, clusters
from .context import current, decisions, owners
from .errors import DatabaseNotActive, NoReaderAvailable
from .models import label_of
from .scopes import Scope, opened

Pick: TypeAlias = Callable[[Cluster, "tuple[str, ...]"], str]


class Route(NamedTuple):
    """Where a query goes, None meaning that others decide, and why: a sentence without its full stop."""

    alias: str | None
    reason: str


class ReadsFrom(NamedTuple):
    """What `in_writer()` and `in_reader()` put into the rules of their frames."""

    role: str
    max_lag: float | None = None


def cluster_for(home: str, instance: Model | None) -> Cluster | None:
    """The cluster to serve a query on behalf of `instance`, by default the one named `home`.

    None is no opinion: the instance comes from a database outside every cluster and stays there, or there are
    no clusters.
    """
    known = clusters()
    if instance is not None and instance._state.db:
        return known.by_alias.get(instance._state.db)
    cluster = known.by_name.get(home)
    if cluster is None and known.by_name and known.declared:
        raise ImproperlyConfigured(f"{SETTING} has no cluster {home!r}, which a ReadWriteRouter is for.")
    return cluster


def read_from(home: str, model: type[Model], instance: Model | None = None, pick: Pick = readers.one_of) -> Route:
    """Where the cluster named `home` serves a read, blocks that name a database aside.

    Raises NoReaderAvailable where ON_NO_READER is "error".
    """
    cluster = cluster_for(home, instance)
    if cluster is None:
        return Route(None, _no_cluster(home, instance))
    if not cluster.readers:
        return Route(cluster.writer, f"cluster {cluster.name!r} has no readers")
    frame = current() or opened()
    scope: Scope = frame[5]
    for name, wanted in frame[6].reads if frame[6] is not None else ():
        if name == cluster.name:
            if wanted.role == "writer":
                return Route(cluster.writer, "in_writer() is in force")
            return _reader(cluster, scope, pick, wanted.max_lag, "in_reader() is in force")
    if (reason := _why_from_writer(cluster, scope, model, instance)) is not None:
        return Route(cluster.writer, reason)
    return _reader(cluster, scope, pick, routing_settings().max_lag, "the reader of this scope")


def write_to(home: str, instance: Model | None = None) -> Route:
    """Where the cluster named `home` serves a write, blocks that name a database aside."""
    cluster = cluster_for(home, instance)
    if cluster is None:
        return Route(None, _no_cluster(home, instance))
    return Route(cluster.writer, f"the writer of cluster {cluster.name!r}")


def noted(route: Route, model: type[Model], kind: str = "read") -> str | None:
    """The alias of the route, with a line in the debug log about why."""
    if route.alias is not None and decisions.isEnabledFor(logging.DEBUG):
        decisions.debug("A %s of %s goes to %r: %s", kind, label_of(model), route.alias, route.reason)
    return route.alias


def remembered(home: str, model: type[Model], pick: Pick) -> str | None:
    """`read_from` for no instance, and a note in the scope's memo where the answer will stay the same.

    While the debug log is on nothing is kept in the memo, so that there is a line for every read.
    """
    frame = current() or opened()
    scope: Scope = frame[5]
    changes = scope.changes
    alias = noted(read_from(home, model, None, pick), model)
    if decisions.isEnabledFor(logging.DEBUG):
        return alias
    cluster = clusters().by_alias.get(alias or "")
    # Lag has to be looked at each time; and chain does not see the wrappers that a thread has while it runs a loop.
    is_lasting = (frame[6] is None or not frame[6].reads) and routing_settings().max_lag is None and not is_in_loop()
    if alias is not None and cluster is not None and alias in cluster.readers and is_lasting:
        # With the wrappers that this thread has now: chain looks at nothing else of another thread's note. But not with
        # the writer's: another one may take its place, with a transaction.
        frame[2][model] = (alias, home, here.__dict__, connections[alias], cluster.writer)
        if scope.changes != changes:  # another thread of this scope has written meanwhile
            frame[2].pop(model, None)
    return alias


def _why_from_writer(cluster: Cluster, scope: Scope, model: type[Model], instance: Model | None) -> str | None:
    """Why a reader could miss what this read is sure to expect; None when it could not."""
    if is_always_on_writer(model):
        return "ALWAYS_WRITER names it"
    if instance is not None and instance._state.db == cluster.writer:
        return "its instance came from the writer"
    if is_in_transaction(cluster.writer, scope):
        return "a transaction is open on the writer"
    if scope.must_read_its_writes(cluster):
        return "this scope has written"
    if scope.reads_from_writer:
        return "migrations are running"
    return None


def is_always_on_writer(model: type[Model] | None) -> bool:
    """Whether ALWAYS_WRITER names the model or its app."""
    if model is None:  # a RawQuerySet may have none
        return False
    meta, always = model._meta, routing_settings().always_writer
    return meta.app_label in always or f"{meta.app_label}.{meta.model_name}" in always


def _reader(cluster: Cluster, scope: Scope, pick: Pick, max_lag: float | None, reason: str) -> Route:
    """The reader that the scope has, or a new one."""
    held = scope.readers.get(cluster.name)
    fit = readers.fit_readers(cluster, max_lag)
    if held in fit:
        if readers.answers(held):  # it may have died after its last connection was closed
            return Route(held, reason)
        fit = tuple(reader for reader in fit if reader != held)
    while fit:
        alias = pick(cluster, fit)
        if alias not in fit or readers.answers(alias):  # a subclass may have names of its own
            left_behind = max_lag == routing_settings().max_lag  # and not for the sake of one `in_reader(max_lag=...)`
            if held is None or held not in cluster.readers or readers.is_aside(held) or left_behind:
                scope.readers[cluster.name] = alias
            return Route(alias, reason)
        fit = tuple(reader for reader in fit if reader != alias)
    if routing_settings().on_no_reader == "error":
        raise NoReaderAvailable(cluster.name, cluster.readers, max_lag)
    return Route(cluster.writer, "no reader is fit")


def _no_cluster(home: str, instance: Model | None) -> str:
    if instance is not None and instance._state.db:
        return f"its instance came from {instance._state.db!r}, which is in no cluster"
    return f"there is no cluster {home!r}"


# -- transactions

_handler: Any = connections  # for what its type does not tell


class _AnyThread:
    """Stands for the connections of this thread where asgiref does not keep them in a plain threading.local."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return self

    def get(self, alias: str) -> BaseDatabaseWrapper:
        return connections[alias]


def _connections_of_this_thread() -> Any:
    """What has the wrappers of this thread in its `__dict__`, by alias, but those made while an event loop runs.

    Asked on every read, `connections[alias]` would be most of what routing costs: asgiref's Local finds out by an
    exception whether an event loop is running. So would be getattr(), where there is no such wrapper yet.
    """
    storage = getattr(_handler._connections, "_storage", None)
    return storage if isinstance(storage, threading.local) else _AnyThread()


here = _connections_of_this_thread()


def is_in_loop() -> bool:
    """Whether this thread runs an event loop, where Django allows queries by DJANGO_ALLOW_ASYNC_UNSAFE only."""
    return asyncio._get_running_loop() is not None


def is_in_transaction(alias: str, scope: Scope | None = None) -> bool:
    """Whether this thread has a transaction open on the alias, by `atomic()` or with autocommit off.

    With a scope, transactions that the code did not open do not count while READS_IN_ATOMIC is "explicit": those
    of ATOMIC_REQUESTS, and the ones around Django's TestCase.
    """
    connection: Any = getattr(_handler._connections, alias, None) if is_in_loop() else here.__dict__.get(alias)
    if connection is None or connection.autocommit:
        return False
    if not connection.in_atomic_block:
        return connection.connection is not None
    if scope is None or routing_settings().reads_in_atomic == "any":
        return True
    opened_by_code = sum(not block._from_testcase for block in connection.atomic_blocks)
    if scope.is_request and connection.settings_dict["ATOMIC_REQUESTS"] and alias not in scope.non_atomic:
        opened_by_code -= 1
    return opened_by_code > 0


# -- blocks


def beside_the_block(model: type[Model], instance: Model, hints: dict[str, Any], *, write: bool) -> str | None:
    """Where a query goes that the blocks in force do not take, on behalf of an instance; None is no opinion.

    Django would follow the instance to its own database. When that is the very database that a block does not
    route this kind of query to, the query goes where it would go without an instance. A block that does, but is
    limited to other models, leaves it to Django: so what is related stays together.
    Raises DatabaseNotActive for an instance from a dynamic database whose blocks have ended.
    """
    origin = instance._state.db
    if origin is None:
        return None
    routed = "write" if write else "read"
    if any(owner.database == origin and not getattr(owner, routed) for owner in owners()):
        others = {name: hint for name, hint in hints.items() if name != "instance"}
        return (router.db_for_write if write else router.db_for_read)(model, **others)
    if dynamic.is_dynamic(origin) and not dynamic.is_active(origin):
        raise DatabaseNotActive(origin)
    return None
