"""What the checks of the routing ask of the project, and how they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

from ..conf import routing_settings
from ..routers import AppLabelRouter, places_of
from ..routing.app_labels import Place
from ..routing.clusters import Clusters, clusters

Messages = Iterator[CheckMessage]
Check = Callable[..., list[CheckMessage]]


def refused_settings() -> list[CheckMessage]:
    """E010: AURORA_ROUTING, or the clusters that DATABASES shows, would be refused at the first query."""
    try:
        routing_settings()
        clusters()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="aurora_routing.E010")]
    return []


def refused_app_labels() -> list[CheckMessage]:
    """E011: an AppLabelRouter sends something where nothing can be."""
    messages: list[CheckMessage] = []
    for one in routers_of(AppLabelRouter):
        try:
            places_of(one)
        except ImproperlyConfigured as error:
            messages.append(Error(str(error), id="aurora_routing.E011"))
    return messages


def guarded(check: Callable[[Clusters], Messages]) -> Check:
    """`check` for Django, given the clusters; it has nothing to say while settings are refused."""

    def run(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
        return [] if refused_settings() or refused_app_labels() else list(check(clusters()))

    return run


def routers_of(kind: Any) -> list[Any]:
    return [one for one in router.routers if isinstance(one, kind)]


def is_split() -> bool:
    """Whether an AppLabelRouter has anything to say."""
    return any(places_of(one).by_label for one in routers_of(AppLabelRouter))


def name_of(one: object) -> str:
    return type(one).__qualname__


def position_of(middleware: str) -> int | None:
    return settings.MIDDLEWARE.index(middleware) if middleware in settings.MIDDLEWARE else None


def readers_of(known: Clusters) -> list[str]:
    return [alias for alias in connections if alias in known.readers]


def is_ours(alias: str) -> bool:
    package = __name__.partition(".")[0]
    return any(base.__module__.startswith(f"{package}.backends.") for base in type(connections[alias]).__mro__)


def place_of(model: Any) -> Place | None:
    return next(filter(None, (places_of(one).of(model) for one in routers_of(AppLabelRouter))), None)
