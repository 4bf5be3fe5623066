"""DATABASES for a writer and its readers, from one definition of them; for settings files, so it reads no settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from django.core.exceptions import ImproperlyConfigured

ENGINES = ("django_aurora_routing.backends.mysql_connector", "django_aurora_routing.backends.mysql")
"""Ours, with which a cluster's readers are an alias that is `read_only`."""
ENGINE = ENGINES[0]
SCHEME = "aurora-mysql"
"""What a URL for the first of them begins with."""

Definition: TypeAlias = "str | Mapping[str, object]"
Databases: TypeAlias = "dict[str, dict[str, Any]]"

_IN_A_URL = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
_MERGED = ("OPTIONS", "TEST")
_HOST = re.compile(r"(?P<host>[^:]+|\[.+\]):(?P<port>[0-9]{1,5})")


def databases(
    writer: Definition,
    readers: Iterable[Definition] | Mapping[str, Definition] | None = None,
    *,
    name: str = "default",
    **common: Any,
) -> Databases:
    """The aliases of a writer and its readers, to be put into DATABASES.

        DATABASES = databases("aurora-mysql://shop:secret@shop.cluster-abc123.eu-west-1.rds.amazonaws.com/shop")
        DATABASES = databases(env.db(), readers=["replica1.internal", "replica2.internal"], CONN_MAX_AGE=600)

    A definition is a URL, for dj-database-url to read, or a dict as in DATABASES, which is what django-environ and
    dj-database-url make. `name` is the writer's alias. `readers` names theirs, or they are "reader", or "reader1",
    "reader2", ... (with "crm_" before it for `name="crm"`). What a reader does not say is as it is at the writer, so
    its HOST is often enough: that may be given as a string, "replica1" or "replica1:5433". With our engines a cluster
    has one reader alias by itself; `readers=[]` if it shall not. `common` are settings for all of them, as CONN_MAX_AGE
    and ENGINE; OPTIONS are added to.

    Every reader mirrors the writer in tests, is not part of ATOMIC_REQUESTS, and with our engines is `read_only`.
    Raises ImproperlyConfigured.
    """
    for key in common:
        if not key.isupper():
            raise TypeError(
                f"databases() has no argument {key!r}: it has writer, readers and name, and settings, in capitals."
            )
    base = _definition(writer)
    if not base.get("ENGINE") and not common.get("ENGINE"):
        raise ImproperlyConfigured(
            "databases() needs the definition of one database, with its ENGINE"
            + ("." if base else ", and got an empty one: is the environment variable set?")
        )
    made = {name: _merged(base, common)}
    if readers is None:
        readers = [{}] if _is_ours(made[name]) else []
    for alias, definition in _named(readers, "reader" if name == "default" else f"{name}_reader"):
        if alias in made:
            raise ImproperlyConfigured(f"databases(): {alias!r} is both the writer and one of its readers.")
        made[alias] = _reader(base, _definition(definition, host=True), common, name)
    return made


def clusters_of(databases: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """AURORA_ROUTING["CLUSTERS"] for DATABASES in which each reader has its writer as TEST["MIRROR"].

    Needed for readers of any engine but ours, whose readers are found by their option `read_only`. A cluster is named
    after its writer.
    """
    clusters: dict[str, dict[str, Any]] = {}
    for alias, config in databases.items():
        if writer := (config.get("TEST") or {}).get("MIRROR"):
            clusters.setdefault(writer, {"writer": writer, "readers": []})["readers"].append(alias)
    return clusters


def _reader(
    base: Mapping[str, Any], definition: Mapping[str, Any], common: Mapping[str, Any], writer: str
) -> dict[str, Any]:
    # Another engine has other options, and another server behind it.
    shared = base if definition.get("ENGINE", base.get("ENGINE")) == base.get("ENGINE") else {}
    config = _merged(_merged(shared, definition), common)
    config["TEST"] = {"MIRROR": writer}
    config["ATOMIC_REQUESTS"] = False
    if _is_ours(config):
        config["OPTIONS"] = {**config.get("OPTIONS", {}), "read_only": True}
    return config


def _is_ours(config: Mapping[str, Any]) -> bool:
    return config.get("ENGINE") in ENGINES


def _named(readers: Iterable[Definition] | Mapping[str, Definition], prefix: str) -> Iterable[tuple[str, Definition]]:
    if isinstance(readers, Mapping):
        return readers.items()
    if isinstance(readers, str):
        readers = [readers]
    listed = list(readers)
    if len(listed) == 1:
        return [(prefix, listed[0])]
    return [(f"{prefix}{number}", definition) for number, definition in enumerate(listed, 1)]


def _definition(given: Any, *, host: bool = False) -> dict[str, Any]:
    """A definition as a dict with what it really says: an empty text says nothing."""
    if isinstance(given, str) and given:
        given = _at(given) if host and "://" not in given else _parsed(given)
    elif not isinstance(given, Mapping):
        raise ImproperlyConfigured(
            f"databases() takes URLs and dicts as in DATABASES, not {given!r}; is the environment variable set?"
        )
    return {key: value for key, value in given.items() if value != ""}


def _at(host: str) -> dict[str, Any]:
    match = _HOST.fullmatch(host.strip())
    return {"HOST": host} if match is None else {"HOST": match["host"].strip("[]"), "PORT": int(match["port"])}


def _parsed(url: str) -> dict[str, Any]:
    try:
        import dj_database_url
    except ImportError as error:
        raise ImproperlyConfigured(
            "databases() got a URL, which dj-database-url is needed for: pip install django-aurora-routing[url]"
        ) from error
    dj_database_url.register(SCHEME, ENGINE)
    try:
        parsed = dj_database_url.parse(url)
    except ValueError as error:
        raise ImproperlyConfigured(f"databases(): {error}") from None  # the URL, and a password in it, stays out
    # The rest are its own defaults, and would hide what the writer and `common` say.
    return {key: value for key, value in parsed.items() if key in _IN_A_URL}


def _merged(config: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `config` with `more` in it; OPTIONS and TEST are merged by their own keys."""
    merged = {**config, **more}
    for key in _MERGED:
        if key in merged:
            merged[key] = {**(config.get(key) or {}), **(more.get(key) or {})}
    return merged
