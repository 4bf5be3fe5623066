"""Tells writes after which readers can be read from at once: those of tables that ALWAYS_WRITER keeps off readers.

Else SESSION_SAVE_EVERY_REQUEST, or a cache in the database, would have every visitor read from the writer all the time.
"""

from __future__ import annotations

import re
from functools import lru_cache

from django.apps import apps
from django.conf import settings

from ..conf import on_settings_changed, routing_settings
from .decision import is_always_on_writer

_WRITES_ONE_TABLE = re.compile(
    r"""\s* (?: INSERT\s+INTO | REPLACE\s+INTO | UPDATE | DELETE\s+FROM ) \s+
        [`"]? ([\w$]+) [`"]? (?: \s* \( | \s+ (?: SET | VALUES | WHERE ) \b | \s* $ )""",
    re.IGNORECASE | re.VERBOSE,
)


def does_not_pin(sql: str) -> bool:
    """Whether the statement, one that writes, certainly writes nothing that is ever read from a reader."""
    found = _WRITES_ONE_TABLE.match(sql)
    return found is not None and found[1].lower() in _tables() and ";" not in sql  # after which more may follow


@lru_cache(maxsize=1)
def _tables() -> frozenset[str]:
    always = routing_settings().always_writer
    found = {
        model._meta.db_table.lower()
        for model in apps.get_models(include_auto_created=True)
        if is_always_on_writer(model)
    }
    if "django_cache" in always:  # the app label under which Django's cache asks the routers
        found.update(
            str(cache.get("LOCATION", "")).lower()
            for cache in settings.CACHES.values()
            if cache["BACKEND"].endswith(".DatabaseCache")
        )
    return frozenset(found)


on_settings_changed(_tables.cache_clear, "AURORA_ROUTING", "CACHES", "INSTALLED_APPS")
