"""AURORA_ROUTING as a value: the settings of the routing layer, checked once; touches no database and no router."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

NAME = "AURORA_ROUTING"


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """The keys of AURORA_ROUTING in lower case, with their defaults. Times are in seconds."""

    clusters: Mapping[str, Any] | None = None
    """{name: {"writer": alias, "readers": [alias, ...] or {alias: weight}}}; None finds them in DATABASES."""
    app_labels: Mapping[str, str] | None = None
    """{app label or "app.Model": alias or cluster}, for AppLabelRouter."""
    profiles: Mapping[str, Any] | None = None
    """{name: OPTIONS}, for aliases that name one of them by the backend's option `profile_name`."""
    reader_strategy: str = "random"
    """How a scope gets its reader: "random" (by weight) or "round_robin"."""
    max_lag: float | None = None
    """A reader that is not known to be at most so far behind is not used. None allows any lag."""
    on_no_reader: str = "writer"
    """Where reads go when no reader is fit: to the "writer", or nowhere, with an "error"."""
    always_writer: tuple[str, ...] = ("sessions", "django_cache")
    """App labels, or "app.Model" by `normal_label`, whose reads never go to a reader."""
    reads_in_atomic: str = "explicit"
    """Reads follow the writer in transactions that the code has opened ("explicit"), or in "any"."""
    pin_policy: str = "window"
    """When a scope that has written reads from readers again: "window", "lag" or "reader_session"."""
    pin_seconds: float = 5.0
    """The window; for the other policies the longest that a scope reads from the writer."""
    pin_floor_seconds: float = 0.0
    """For "lag": how much longer than the observed lag a scope reads from the writer."""
    pin_store: str = "cookie"
    """What carries the last writes to a person's next request: "cookie", "session", "cache", "header" or a class."""
    prevent_writes_on_readers: bool = True
    """Refuse SQL that writes on a reader's alias before it is sent."""
    stale_writes: str = "allow"
    """A full save() of an object that a reader gave: "allow", "warn" or "error"."""
    transactions_follow_blocks: bool = False
    """Plain transaction.atomic() and django.db.connection mean the database of the block they are in."""


_CHOICES = {
    "reader_strategy": ("random", "round_robin"),
    "on_no_reader": ("writer", "error"),
    "reads_in_atomic": ("explicit", "any"),
    "pin_policy": ("window", "lag", "reader_session"),
    "stale_writes": ("allow", "warn", "error"),
}
_SECONDS = ("max_lag", "pin_seconds", "pin_floor_seconds")
_MAPPINGS = ("clusters", "app_labels", "profiles")
_FLAGS = ("prevent_writes_on_readers", "transactions_follow_blocks")
_KEYS = {field.name.upper(): field.name for field in fields(RoutingSettings)}


@lru_cache(maxsize=1)
def routing_settings() -> RoutingSettings:
    """AURORA_ROUTING, checked; kept until settings change. Raises ImproperlyConfigured, naming key and right value."""
    given: Any = getattr(settings, NAME, {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{NAME} must be a dict, not {type(given).__name__}.")
    values = {}
    for key, value in given.items():
        name = _KEYS.get(key)
        if name is None:
            raise ImproperlyConfigured(f"{NAME} has no {key!r}.{did_you_mean(key, _KEYS)} It has {listed(_KEYS)}.")
        values[name] = _checked(key, name, value)
    return RoutingSettings(**values)


def on_settings_changed(forget: Callable[[], None], *names: str) -> None:
    """Call `forget` whenever a test overrides one of these settings."""

    def receive(*, setting: str, **_: Any) -> None:
        if setting in names:
            forget()

    setting_changed.connect(receive, weak=False, dispatch_uid=(forget, names))


on_settings_changed(routing_settings.cache_clear, NAME)


def did_you_mean(word: Any, words: Iterable[str]) -> str:
    """A sentence with the nearest right word, to be put behind another; empty when none is near."""
    by_lower = {str(one).lower(): one for one in words}
    nearest = difflib.get_close_matches(str(word).lower(), by_lower, n=1)
    return f" Did you mean {by_lower[nearest[0]]!r}?" if nearest else ""


def listed(words: Iterable[str]) -> str:
    return ", ".join(map(repr, words))


def normal_label(label: str) -> str:
    """An app label, or an "app.Model" so that the case of the model's name does not matter."""
    app_label, dot, model = label.partition(".")
    return f"{app_label}{dot}{model.lower()}"


def is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _checked(key: str, name: str, value: Any) -> Any:
    where = f"{NAME}[{key!r}]"
    if name in _CHOICES and value not in _CHOICES[name]:
        choices = _CHOICES[name]
        raise ImproperlyConfigured(f"{where} is {value!r}; it can be {listed(choices)}.{did_you_mean(value, choices)}")
    if name in _FLAGS and not isinstance(value, bool):
        raise ImproperlyConfigured(f"{where} must be True or False, not {value!r}.")
    if name in _MAPPINGS and value is not None and not isinstance(value, Mapping):
        raise ImproperlyConfigured(f"{where} must be a dict, not {value!r}.")
    if name in _SECONDS and not (value is None and name == "max_lag"):
        if not is_seconds(value):
            raise ImproperlyConfigured(f"{where} must be a number of seconds, 0 or more, not {value!r}.")
        return float(value)
    if name == "always_writer":
        is_listed = isinstance(value, (list, tuple, set, frozenset))
        if not is_listed or not all(isinstance(label, str) for label in value):
            raise ImproperlyConfigured(f"{where} must be a list of app labels or 'app.Model's, not {value!r}.")
        return tuple(map(normal_label, value))
    if name == "pin_store" and not isinstance(value, str):
        raise ImproperlyConfigured(f"{where} must be a name or a dotted path, not {value!r}.")
    return value
