"""The routers for DATABASE_ROUTERS, DynamicDbRouter first; thin over routing/. None means no opinion."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from .routing import decision, dynamic
from .routing.clusters import clusters
from .routing.context import current


class DynamicDbRouter:
    """Sends queries where the `in_database` blocks in force say, and has no opinion outside them."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        frame = current()
        if frame is not None and frame[0] is not None:
            return frame[0]
        if hints and hints.get("instance") is not None:
            return decision.beside_the_block(model, hints["instance"], hints, write=False)
        return None

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        frame = current()
        if frame is not None and frame[1] is not None:
            return frame[1]
        if hints and hints.get("instance") is not None:
            return decision.beside_the_block(model, hints["instance"], hints, write=True)
        return None

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        return None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if dynamic.is_dynamic(db) else None


class ReadWriteRouter:
    """Sends writes to a cluster's writer and reads to one of its readers.

    A read goes to the writer when a transaction is open there, and when it is on behalf of an instance that
    came from there. An instance from another cluster is served by that one; from a database in no cluster, by
    nobody here.
    """

    cluster = "default"

    def __init__(self, cluster: str | None = None) -> None:
        if cluster is not None:
            self.cluster = cluster

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        instance = hints.get("instance")
        cluster = decision.cluster_for(self.cluster, instance)
        if cluster is None:
            return None
        if decision.must_read_from_writer(cluster, instance):
            return cluster.writer
        return self.pick_reader(cluster.readers, model, hints)

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        cluster = decision.cluster_for(self.cluster, hints.get("instance"))
        return None if cluster is None else cluster.writer

    def pick_reader(self, readers: tuple[str, ...], model: type[Model], hints: dict[str, Any]) -> str:
        """The reader for one read. A subclass may choose otherwise."""
        return decision.any_of(readers)

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        by_alias = clusters().by_alias
        cluster = by_alias.get(obj1._state.db or "")
        return True if cluster is not None and by_alias.get(obj2._state.db or "") is cluster else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db in clusters().readers else None
