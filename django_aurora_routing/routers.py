"""The routers for DATABASE_ROUTERS, DynamicDbRouter first; thin over routing/. None means no opinion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from django.db import router
from django.db.models import Model

from .conf import on_settings_changed, routing_settings
from .routing import app_labels, chain, decision, dynamic, explain, readers
from .routing.clusters import Cluster, clusters
from .routing.context import alias_for, current
from .routing.models import label_of


class DynamicDbRouter:
    """Sends queries where the `in_database` blocks in force say, and has no opinion outside them."""

    follows_blocks = True
    """What `in_database` looks for, as it would do nothing without."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        # Asked for the first time. From now on Django finds the function that answers in the instance, see chain.
        answer = chain.in_blocks
        behind = chain.follower(self)
        if isinstance(behind, ReadWriteRouter) and behind._answers_alike:
            answer = chain.both(behind.cluster, behind.pick)
        if type(self).db_for_read is DynamicDbRouter.db_for_read:
            vars(self)["db_for_read"] = answer
        return answer(model, **hints)

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        frame = current()
        if frame is not None and frame[1] is not None and (alias := alias_for(frame[1], model)) is not None:
            return alias
        if hints and hints.get("instance") is not None:
            return decision.beside_the_block(model, hints["instance"], hints, write=True)
        return None

    def explain(self, model: type[Model], instance: Model | None, *, write: bool) -> decision.Route:
        return explain.by_blocks(model, instance, write=write)

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        return None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if dynamic.is_dynamic(db) else None


class AppLabelRouter:
    """Sends apps, or single models, to the databases that AURORA_ROUTING["APP_LABELS"] names for them.

        "APP_LABELS": {"auth": "users", "contenttypes": "users", "shop.Order": "orders"}

    Each names an alias, or a cluster: then reads go where a ReadWriteRouter for that cluster would send them. What is
    named is migrated there alone, and what is not named is kept out of these databases (but for 'default').

    Or list a subclass, with the attributes that the router in Django's documentation has: `route_app_labels`, a set of
    labels beside `db`, or a dict as above. As there, other apps are then not kept out of `db`.
    """

    route_app_labels: Mapping[str, str] | Iterable[str] | None = None
    db: str | None = None

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return places_of(self).alias_for(model, hints, write=False)

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return places_of(self).alias_for(model, hints, write=True)

    def explain(self, model: type[Model], instance: Model | None, *, write: bool) -> decision.Route:
        hints = {} if instance is None else {"instance": instance}
        place, alias = places_of(self).of(model), places_of(self).alias_for(model, hints, write=write)
        where = "no place is named for it" if place is None else f"{label_of(model)} belongs to {place.name!r}"
        return decision.Route(alias, where)

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        return places_of(self).allow_relation(obj1, obj2)

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        return places_of(self).allow_migrate(db, app_label, model_name, hints.get("model"))


@cache
def places_of(asked: AppLabelRouter) -> app_labels.Places:
    """The databases that an AppLabelRouter sends apps to. Raises ImproperlyConfigured."""
    others = [one for one in router.routers if isinstance(one, ReadWriteRouter)]
    picks = {one.cluster: one.pick for one in reversed(others)}

    def reading(cluster: str) -> chain.Answer:
        return chain.reading(cluster, picks.get(cluster, readers.one_of))

    if asked.route_app_labels is None:
        labels = routing_settings().app_labels or {}
        return app_labels.Places(labels, homes=picks, exclusive=True, reading=reading)
    labels = app_labels.labels_of(asked.route_app_labels, asked.db)
    return app_labels.Places(labels, homes=picks, reading=reading, setting=type(asked).__qualname__)


on_settings_changed(places_of.cache_clear, "AURORA_ROUTING", "DATABASES", "DATABASE_ROUTERS")


class ReadWriteRouter:
    """Sends writes to a cluster's writer and reads to one of its readers.

    A scope (a request, a task, a command) keeps to one reader. Its reads go to the writer in transactions that the
    code has opened, after it has written (until the readers have caught up, see PIN_POLICY), for the apps and models
    of ALWAYS_WRITER, for an instance that came from the writer, and inside `in_writer()`. An instance from another
    cluster is served by that one; from a database in no cluster, by nobody here.

    For a cluster that is not called "default", list a subclass with another `cluster`.
    """

    cluster = "default"

    def __init__(self, cluster: str | None = None) -> None:
        if cluster is not None:
            self.cluster = cluster

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        answer = chain.reading(self.cluster, self.pick)  # asked for the first time, as above
        if self._answers_alike:
            vars(self)["db_for_read"] = answer
        return answer(model, **hints)

    @property
    def _answers_alike(self) -> bool:
        """Whether `db_for_read` is not a subclass's own, nor `cluster` a property that may change."""
        cls = type(self)
        return cls.db_for_read is ReadWriteRouter.db_for_read and isinstance(cls.cluster, str)

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return decision.noted(decision.write_to(self.cluster, hints.get("instance")), model, "write")

    def explain(self, model: type[Model], instance: Model | None, *, write: bool) -> decision.Route:
        if write:
            return decision.write_to(self.cluster, instance)
        return decision.read_from(self.cluster, model, instance, self.pick)

    def pick(self, cluster: Cluster, fit: tuple[str, ...]) -> str:
        """The reader for one scope, of those that are fit to be read from. A subclass may choose otherwise."""
        return readers.one_of(cluster, fit)

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        by_alias = clusters().by_alias
        cluster = by_alias.get(obj1._state.db or "")
        return True if cluster is not None and by_alias.get(obj2._state.db or "") is cluster else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db in clusters().readers else None
