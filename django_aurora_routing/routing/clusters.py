"""Which aliases are the writer and the readers of one cluster: told by settings, or found in DATABASES.

Told: AURORA_ROUTING["CLUSTERS"] = {"default": {"writer": "default", "readers": ["reader"]}}, or with weights
{"reader": 2, "other": 1}. Found: every alias
with OPTIONS["read_only"] true is a reader, and its writer is the alias that its TEST["MIRROR"] names, or else
the one other alias with the same ENGINE, NAME and PORT (and the same HOST, where several have these). A
cluster found so is named after its writer. Whatever is not clear is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.creation import TEST_DATABASE_PREFIX

from ..conf import did_you_mean, listed, on_settings_changed, routing_settings

SETTING = "AURORA_ROUTING['CLUSTERS']"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A writer and its readers, as aliases of DATABASES."""

    name: str
    writer: str
    readers: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    """One for each reader, or none when all are equal."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """All clusters of the project. `declared` tells whether settings name them."""

    by_name: Mapping[str, Cluster]
    by_alias: Mapping[str, Cluster]
    readers: frozenset[str]
    declared: bool


@lru_cache(maxsize=1)
def clusters() -> Clusters:
    """The project's clusters. Raises ImproperlyConfigured; keeps the answer until settings change."""
    databases = connections.settings
    declared = routing_settings().clusters
    if declared is None:
        return _collected(found(databases), declared=False)
    return _collected(told(declared, databases), declared=True)


on_settings_changed(clusters.cache_clear, "AURORA_ROUTING", "DATABASES")


def cluster_named(name: str) -> Cluster:
    """The cluster of that name; where settings declare none, an alias without readers is a cluster too.

    So code that says `in_writer()` runs in a project with one database. Raises ImproperlyConfigured.
    """
    known = clusters()
    if (cluster := known.by_name.get(name)) is not None:
        return cluster
    if not known.declared and name in connections.settings:
        return Cluster(name, name)
    names = [*known.by_name] if known.declared else [*known.by_name, *connections]
    raise ImproperlyConfigured(f"There is no cluster {name!r}.{did_you_mean(name, names)} There is {listed(names)}.")


def _collected(all_clusters: Iterable[Cluster], *, declared: bool) -> Clusters:
    by_name: dict[str, Cluster] = {}
    by_alias: dict[str, Cluster] = {}
    readers: set[str] = set()
    for cluster in all_clusters:
        by_name[cluster.name] = cluster
        readers.update(cluster.readers)
        for alias in (cluster.writer, *cluster.readers):
            if alias in by_alias:
                raise ImproperlyConfigured(
                    f"{SETTING}: {alias!r} is in it twice, for {by_alias[alias].name!r} and {cluster.name!r}."
                )
            by_alias[alias] = cluster
    return Clusters(MappingProxyType(by_name), MappingProxyType(by_alias), frozenset(readers), declared)


def told(declared: Any, databases: Mapping[str, Any]) -> list[Cluster]:
    """The clusters of AURORA_ROUTING["CLUSTERS"]."""
    return [_told_one(name, entry, databases) for name, entry in declared.items()]


def _told_one(name: str, entry: Any, databases: Mapping[str, Any]) -> Cluster:
    where = f"{SETTING}[{name!r}]"
    for key in entry if isinstance(entry, Mapping) else ():
        if key not in ("writer", "readers"):
            raise ImproperlyConfigured(f"{where} has no {key!r}.{did_you_mean(key, ('writer', 'readers'))}")
    if not isinstance(entry, Mapping) or "writer" not in entry:
        raise ImproperlyConfigured(f"{where} must be a dict with 'writer' and 'readers', not {entry!r}.")
    readers: Any = entry.get("readers", ())
    if not isinstance(readers, (list, tuple, Mapping)):
        raise ImproperlyConfigured(
            f"{where}['readers'] must be a list of aliases or {{alias: weight}}, not {readers!r}."
        )
    for alias in (entry["writer"], *readers):
        if not isinstance(alias, str) or alias not in databases:
            raise ImproperlyConfigured(f"{where}: DATABASES has no {alias!r}.{did_you_mean(alias, databases)}")
    return Cluster(name, entry["writer"], tuple(readers), _weights(where, readers))


def _weights(where: str, readers: Any) -> tuple[float, ...]:
    if not isinstance(readers, Mapping):
        return ()
    for alias, weight in readers.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
            raise ImproperlyConfigured(f"{where}['readers'][{alias!r}]: a weight is 0 or more, not {weight!r}.")
    if readers and not any(readers.values()):
        raise ImproperlyConfigured(f"{where}['readers']: at least one weight must be more than 0.")
    return tuple(float(weight) for weight in readers.values())


def found(databases: Mapping[str, Any]) -> list[Cluster]:
    """The clusters that DATABASES shows by itself."""
    readers: dict[str, list[str]] = {}
    marked = [alias for alias in databases if _is_read_only(databases[alias])]
    candidates = [alias for alias in databases if alias not in marked]
    for reader in marked:
        readers.setdefault(_writer_of(reader, candidates, databases), []).append(reader)
    return [Cluster(writer, writer, tuple(aliases)) for writer, aliases in readers.items()]


def _writer_of(reader: str, candidates: list[str], databases: Mapping[str, Any]) -> str:
    config = databases[reader]
    mirror = config.get("TEST", {}).get("MIRROR")
    if mirror in candidates:
        return str(mirror)
    fitting = [alias for alias in candidates if _same_database(config, databases[alias])]
    if len(fitting) > 1:
        fitting = [alias for alias in fitting if databases[alias].get("HOST") == config.get("HOST")]
    if len(fitting) != 1:
        raise ImproperlyConfigured(
            f"DATABASES[{reader!r}] is read_only, but which alias is its writer is not clear "
            f"({'several have' if fitting else 'no single one has'} the same ENGINE, NAME, PORT and HOST). "
            f"Say so in DATABASES[{reader!r}]['TEST']['MIRROR'] or in {SETTING}."
        )
    return fitting[0]


def _is_read_only(config: Mapping[str, Any]) -> bool:
    value = config.get("OPTIONS", {}).get("read_only", False)
    return value.strip().lower() == "true" if isinstance(value, str) else bool(value)


def _same_database(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if (one.get("ENGINE"), str(one.get("PORT") or "")) != (other.get("ENGINE"), str(other.get("PORT") or "")):
        return False
    # The test runner gives its names to one alias after the other, and asks the routers in between.
    return one.get("NAME") in _names(other) or other.get("NAME") in _names(one)


def _names(config: Mapping[str, Any]) -> tuple[Any, ...]:
    name = config.get("NAME")
    return (name, f"{TEST_DATABASE_PREFIX}{name}", config.get("TEST", {}).get("NAME") or name)
