"""A database configuration as a value: copied, completed with Django's defaults, and named by its content."""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

Settings = dict[str, Any]

PREFIX = "dyn_"

# Aliases appear in logs and errors. With a key that lives as long as the process, nobody can test guesses of
# the password against one.
_KEY = os.urandom(32)

_TOLD_BY_REPR = {str, bytes, int, float, bool, type(None)}


def completed(config: Mapping[str, Any]) -> Settings:
    """A copy of `config` with what Django would have filled in, had it stood in DATABASES.

    Raises ImproperlyConfigured when there is no ENGINE: Django would take its dummy backend and complain
    about settings.DATABASES at the first query.
    """
    if not config.get("ENGINE"):
        raise ImproperlyConfigured("The configuration given to in_database() has no 'ENGINE'.")
    settings: Settings = copied(dict(config))
    # This works in place, on a whole DATABASES, and changes nothing in the handler.
    connections.configure_settings({DEFAULT_DB_ALIAS: settings})
    # A block, not a request, is what opens and closes a dynamic database.
    settings["ATOMIC_REQUESTS"] = False
    return settings


def copied(value: Any) -> Any:
    """`value` with its containers copied at every depth; what they hold is shared, as SSL contexts have no copy."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [copied(item) for item in value]
        # A named tuple takes its fields one by one.
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def alias_of(settings: Settings) -> str:
    """The alias of a completed configuration: the same for equal ones, in this process and its forks."""
    return PREFIX + hashlib.blake2b(_canonical(settings).encode(), key=_KEY, digest_size=10).hexdigest()


def _canonical(value: Any) -> str:
    kind = type(value)
    if kind in _TOLD_BY_REPR:
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{_canonical(k)}:{_canonical(v)}" for k, v in value.items())) + "}"
    name = kind.__qualname__
    if isinstance(value, (list, tuple)):
        return f"{name}[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, (set, frozenset)):
        return f"{name}[" + ",".join(sorted(map(_canonical, value))) + "]"
    if isinstance(value, (str, bytes, int, float, PurePath, enum.Enum)):
        return f"{name}:{value!r}"
    # Callables, SSL contexts, adapters: equal when they are the same. An id is taken again only after all
    # that holds the object is gone, and a connection made with these settings holds it.
    return f"{name}@{id(value)}"
