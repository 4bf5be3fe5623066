"""The order of reasons by which a read or a write gets its alias; changes nothing."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from . import context, dynamic
from .clusters import SETTING, Cluster, clusters
from .errors import DatabaseNotActive


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


def must_read_from_writer(cluster: Cluster, instance: Model | None) -> bool:
    """Whether a reader could miss what this read is sure to expect."""
    if not cluster.readers:
        return True
    if instance is not None and instance._state.db == cluster.writer:
        return True
    return is_in_transaction(cluster.writer)


def is_in_transaction(alias: str) -> bool:
    """Whether this thread has a transaction open on the alias, by `atomic()` or with autocommit off."""
    connection = _connection_of_this_thread(alias)
    return connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)


_handler: Any = connections  # for what its type does not tell


def _connection_of_this_thread(alias: str) -> BaseDatabaseWrapper:
    """`connections[alias]`.

    Asked on every read, it would be most of what routing costs: asgiref's Local finds out whether an event loop is
    running by an exception. Outside of loops it keeps a plain threading.local, which is read here without asking.
    """
    if asyncio._get_running_loop() is None:
        storage = getattr(_handler._connections, "_storage", None)
        if isinstance(storage, threading.local):
            wrapper: BaseDatabaseWrapper | None = getattr(storage, alias, None)
            if wrapper is not None:
                return wrapper
    return connections[alias]


def any_of(readers: tuple[str, ...]) -> str:
    """One of the readers, by chance."""
    return readers[0] if len(readers) == 1 else random.choice(readers)


def beside_the_block(model: type[Model], instance: Model, hints: dict[str, Any], *, write: bool) -> str | None:
    """Where a query goes that the blocks in force do not take, on behalf of an instance; None is no opinion.

    Django would follow the instance to its own database. When that is the very database that a block does not
    route this kind of query to, the query goes where it would go without an instance.
    Raises DatabaseNotActive for an instance from a dynamic database whose blocks have ended.
    """
    origin = instance._state.db
    if origin is None:
        return None
    if any(block.database == origin for block in context.blocks()):
        others = {name: hint for name, hint in hints.items() if name != "instance"}
        return (router.db_for_write if write else router.db_for_read)(model, **others)
    if dynamic.is_dynamic(origin) and not dynamic.is_active(origin):
        raise DatabaseNotActive(origin)
    return None
