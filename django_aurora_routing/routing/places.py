"""Whether two aliases are one database, as far as their settings tell; connects to nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

# The rest of OPTIONS is about how, not where. For engines we know less of, every option may be about where.
_MYSQL_OPTIONS = ("unix_socket", "read_default_file", "read_default_group", "db", "database")


def is_same_database(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both settings lead to the same database. False also means that they do not show it."""
    here = _where(one)
    return here is not None and here == _where(other)


def _where(config: Mapping[str, Any]) -> tuple[Any, ...] | None:
    engine, name = str(config.get("ENGINE") or ""), config.get("NAME") or ""
    options = config.get("OPTIONS") or {}
    if "sqlite" in engine or "spatialite" in engine:
        if name == ":memory:":  # each connection has its own
            return None
        return ("sqlite", str(name) if str(name).startswith("file:") else os.path.realpath(name))
    place = (str(config.get("HOST") or "localhost").lower(), str(config.get("PORT") or ""), name)
    if "mysql" in engine:
        return ("mysql", *place, *(options.get(option) for option in _MYSQL_OPTIONS))
    return (engine, *place, config.get("USER") or "", options)
