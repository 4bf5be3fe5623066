"""Which databases apps and models belong to, told by their labels; for AppLabelRouter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.models import ForeignKey, Model

from ..conf import did_you_mean, listed, normal_label
from .chain import Answer
from .clusters import clusters

SETTING = "AURORA_ROUTING['APP_LABELS']"


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A database that apps are sent to: `alias` is written to, `aliases` are all that show the same data."""

    name: str
    alias: str
    aliases: frozenset[str]
    is_home: bool
    """Whether apps that nothing is said of are there too."""
    read: Answer | None
    """Chooses a reader, where `name` is that of a cluster; else reads go to `alias` as well."""

    def serve(self, model: type[Model], instance: Model | None, *, write: bool) -> str | None:
        return self.alias if write or self.read is None else self.read(model, instance)


class Places:
    """Where everything goes that one router speaks of. Raises ImproperlyConfigured for what is not a database.

    `labels` maps app labels and "app.Model"s to names of clusters or to aliases; `homes` names the clusters of
    those that are not in it. `exclusive` keeps these out of the databases of the others, when migrating.
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        *,
        homes: Collection[str] = (),
        exclusive: bool = False,
        reading: Callable[[str], Answer],
        setting: str = SETTING,
    ) -> None:
        home = {DEFAULT_DB_ALIAS}
        for name in ("default", *homes):
            home |= _aliases_of_cluster(name)
        for label, given in labels.items():
            if not isinstance(given, str):
                raise ImproperlyConfigured(
                    f"{setting}[{label!r}] must be the name of an alias or a cluster, not {given!r}."
                )
        made = {name: _place(name, home, reading, setting) for name in set(labels.values())}
        self.by_label = {normal_label(label): made[name] for label, name in labels.items()}
        self._foreign = frozenset[str]().union(*(place.aliases for place in made.values() if not place.is_home))
        self._writers = {place.alias for place in made.values()}
        self._exclusive = exclusive
        self._known: dict[type[Model], Place | None] = {}

    def of(self, model: Any) -> Place | None:
        """Where a model belongs. Proxies are with what they stand for, the models of M2M fields with the field."""
        try:
            return self._known[model]
        except KeyError:
            place = self._of(model)
        if getattr(model._meta, "apps", None) is apps:  # not one of a migration's past
            self._known[model] = place
        return place

    def _of(self, model: Any) -> Place | None:
        if not hasattr(model._meta, "concrete_model"):  # Django's cache in the database
            return self.of_label(model._meta.app_label, model._meta.model_name)
        meta = model._meta.concrete_model._meta
        place = self.of_label(meta.app_label, meta.model_name)
        if place is None or meta.label_lower not in self.by_label:
            maker = meta.auto_created
            return self.of(maker) if maker else place
        return place

    def of_label(self, app_label: str, model_name: str) -> Place | None:
        return self.by_label.get(f"{app_label}.{model_name.lower()}") or self.by_label.get(app_label)

    def alias_for(self, model: type[Model], hints: Mapping[str, Any], *, write: bool) -> str | None:
        """The alias of a query; None is no opinion.

        An instance that is not where its model belongs was put there on purpose, by `using()` or by a block, and what
        is related to it is looked for there. One in its own place tells nothing about models of another place.
        """
        place, instance = self.of(model), hints.get("instance")
        if instance is None or instance._state.db is None:
            return None if place is None else place.serve(model, None, write=write)
        origin, other = instance._state.db, self.of(type(instance))
        if other is not None and origin not in other.aliases:
            return None
        if is_same_place(place, other):
            return place.serve(model, instance, write=write) if place is not None and origin in place.aliases else None
        if place is not None:
            return place.serve(model, None, write=write)
        others = {name: hint for name, hint in hints.items() if name != "instance"}
        return (router.db_for_write if write else router.db_for_read)(model, **others)

    def allow_relation(self, one: Model, other: Model) -> bool | None:
        """True in one place; between places where a foreign key has no constraint in the database; else None."""
        here, there = self.of(type(one)), self.of(type(other))
        if here is None and there is None:
            return None
        if not is_same_place(here, there):
            return _is_related_without_constraint(type(one), type(other)) or None
        aliases = (here or there or _NOWHERE).aliases
        return all(item._state.db is None or item._state.db in aliases for item in (one, other)) or None

    def allow_migrate(self, db: str, app_label: str, model_name: str | None, model: Any) -> bool | None:
        """What belongs to a place is migrated at its writer alone."""
        if model is not None or model_name is not None:
            place = self.of(model) if model is not None else self.of_label(app_label, str(model_name))
            at, elsewhere = {place} - {None}, place is not None
        else:  # code or SQL of a migration, which may be about any model of the app
            at = {p for label, p in self.by_label.items() if label.partition(".")[0] == app_label}
            elsewhere = app_label in self.by_label
        if any(place is not None and db == place.alias for place in at):
            return True
        if app_label == _OURS and not elsewhere and db in self._writers:
            return None  # commit tokens are wherever there are transactions
        return False if elsewhere or (self._exclusive and db in self._foreign) else None


_OURS = "aurora_routing"
_NOWHERE = Place("", "", frozenset(), False, None)


def labels_of(route_app_labels: Mapping[str, str] | Iterable[str], db: str | None) -> dict[str, str]:
    """The attributes of a subclass of AppLabelRouter as one mapping. Raises ImproperlyConfigured."""
    if isinstance(route_app_labels, Mapping):
        return dict(route_app_labels)
    if isinstance(route_app_labels, str) or db is None:
        raise ImproperlyConfigured(
            "route_app_labels of an AppLabelRouter must be a dict {label: database}, or a set of labels beside `db`."
        )
    return dict.fromkeys(route_app_labels, db)


def _aliases_of_cluster(name: str) -> set[str]:
    cluster = clusters().by_name.get(name)
    return set() if cluster is None else {cluster.writer, *cluster.readers}


def _place(name: str, home: Collection[str], reading: Callable[[str], Answer], setting: str) -> Place:
    known = clusters()
    cluster = known.by_name.get(name)
    if cluster is None and name not in connections.settings:
        names = sorted({*known.by_name, *connections})
        raise ImproperlyConfigured(
            f"{setting}: {name!r} is neither a cluster nor in DATABASES.{did_you_mean(name, names)} "
            f"There is {listed(names)}."
        )
    if cluster is None and name in known.readers:
        raise ImproperlyConfigured(
            f"{setting}: {name!r} is a reader, which nothing can be written to; "
            f"its cluster is {known.by_alias[name].name!r}."
        )
    whole = cluster or known.by_alias.get(name)
    aliases = frozenset({name}) if whole is None else frozenset({whole.writer, *whole.readers})
    return Place(
        name,
        name if cluster is None else cluster.writer,
        aliases,
        not aliases.isdisjoint(home),
        None if cluster is None else reading(name),
    )


def is_same_place(one: Place | None, other: Place | None) -> bool:
    """Whether both are one database; None is where everything is that no router speaks of."""
    if one is None or other is None:
        return (one is None or one.is_home) and (other is None or other.is_home)
    return one.aliases == other.aliases


@lru_cache(maxsize=256)
def _is_related_without_constraint(one: type[Model], other: type[Model]) -> bool:
    """Whether there is a foreign key with db_constraint=False, by which models say that they are in two databases."""
    return any(
        isinstance(field, ForeignKey)
        and not getattr(field, "db_constraint", True)  # the stubs do not know it
        and field.related_model._meta.concrete_model is target._meta.concrete_model
        for source, target in ((one, other), (other, one))
        for field in source._meta.concrete_fields
    )
