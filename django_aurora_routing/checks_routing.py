"""System checks of the routing: of AURORA_ROUTING, routers, middleware and the aliases of readers.

docs/checks.rst explains each id. They look at settings alone, and say nothing more while AURORA_ROUTING is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.models import ForeignKey
from django.utils.module_loading import import_string

from .conf import did_you_mean, listed, routing_settings
from .routers import AppLabelRouter, DynamicDbRouter, ReadWriteRouter, places_of
from .routing.app_labels import Place, is_same_place
from .routing.clusters import Clusters, clusters
from .routing.configs import PREFIX
from .routing.places import is_same_database

ROUTERS = (DynamicDbRouter, AppLabelRouter, ReadWriteRouter)
"""In the order in which they have to be asked."""

MIDDLEWARE = "django_aurora_routing.middleware.ReadYourWritesMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
THAT_QUERY = (
    "django.contrib.auth.middleware.RemoteUserMiddleware",
    "django.contrib.auth.middleware.PersistentRemoteUserMiddleware",
    "django.contrib.sites.middleware.CurrentSiteMiddleware",
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
)
PIN_STORES = ("cookie", "session", "cache", "header")
OF_ONE_PROCESS = ("django.core.cache.backends.locmem.LocMemCache", "django.core.cache.backends.dummy.DummyCache")

Messages = Iterator[CheckMessage]
Check = Callable[..., list[CheckMessage]]


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E010: AURORA_ROUTING, or the clusters that DATABASES shows, would be refused at the first query."""
    try:
        routing_settings()
        clusters()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="aurora_routing.E010")]
    return []


def check_app_labels() -> Messages:
    """E011: an AppLabelRouter sends something where nothing can be."""
    for one in _routers(AppLabelRouter):
        try:
            places_of(one)
        except ImproperlyConfigured as error:
            yield Error(str(error), id="aurora_routing.E011")


def check_router_order() -> Messages:
    """E012: a router answers before one that has to be asked first."""
    found = [(kind, _name(one)) for one in router.routers for kind in ROUTERS if isinstance(one, kind)]
    order = [ROUTERS.index(kind) for kind, _ in found]
    if order != sorted(order):
        right = [name for _, name in sorted(found, key=lambda item: ROUTERS.index(item[0]))]
        yield Error(
            f"DATABASE_ROUTERS has {listed(name for _, name in found)} in this order: what the later ones should "
            "decide is decided before they are asked.",
            hint=f"Put them in this order: {listed(right)}.",
            id="aurora_routing.E012",
        )


def check_prefix() -> Messages:
    """E013: an alias has a name that dynamic databases are known by."""
    for alias in connections:
        if alias.startswith(PREFIX):
            yield Error(
                f"DATABASES[{alias!r}]: aliases that begin with {PREFIX!r} are those of in_database({{...}}) blocks.",
                hint=f"Give it another name, e.g. {alias.removeprefix(PREFIX)!r}.",
                id="aurora_routing.E013",
            )


def check_session_comes_first() -> Messages:
    """E014: pins are kept in the session, which is not there yet."""
    if _position(MIDDLEWARE) is None or routing_settings().pin_store != "session":
        return
    if (sessions := _position(SESSIONS)) is None or sessions > (_position(MIDDLEWARE) or 0):
        yield Error(
            "AURORA_ROUTING['PIN_STORE'] is 'session', but ReadYourWritesMiddleware does not come after "
            "SessionMiddleware in MIDDLEWARE.",
            hint=f"Put {MIDDLEWARE!r} right behind {SESSIONS!r}.",
            id="aurora_routing.E014",
        )


def check_pin_store() -> Messages:
    """E015: PIN_STORE is nothing that can be found."""
    store = routing_settings().pin_store
    if store in PIN_STORES:
        return
    try:
        import_string(store)
    except ImportError as error:
        yield Error(
            f"AURORA_ROUTING['PIN_STORE'] is {store!r}: {error}.",
            hint=f"It can be {listed(PIN_STORES)} or the dotted path of a class.{did_you_mean(store, PIN_STORES)}",
            id="aurora_routing.E015",
        )


def check_cluster_of_router(known: Clusters) -> Messages:
    """E016: a ReadWriteRouter is for a cluster that there is not."""
    for one in _routers(ReadWriteRouter):
        if known.declared and known.by_name and one.cluster not in known.by_name:
            yield Error(
                f"{_name(one)} is for the cluster {one.cluster!r}, which AURORA_ROUTING['CLUSTERS'] does not have.",
                hint=f"There is {listed(known.by_name)}. List a subclass of the router with the right `cluster`, "
                "or call the cluster 'default'.",
                id="aurora_routing.E016",
            )


def check_routers_are_there(known: Clusters) -> Messages:
    """W010: settings that only a router reads, and no such router."""
    wanted = [
        (ReadWriteRouter, known.readers, f"The readers {listed(sorted(known.readers))} are never read from"),
        (AppLabelRouter, routing_settings().app_labels, "AURORA_ROUTING['APP_LABELS'] has no effect"),
    ]
    for kind, is_wanted, consequence in wanted:
        if is_wanted and not _routers(kind):
            yield Warning(
                f"{consequence}: DATABASE_ROUTERS has no {kind.__name__}.",
                hint=f"Add 'django_aurora_routing.routers.{kind.__name__}' to DATABASE_ROUTERS.",
                id="aurora_routing.W010",
            )


def check_middleware_comes_early() -> Messages:
    """W011: middleware queries where ReadYourWritesMiddleware does not know of it."""
    ours = _position(MIDDLEWARE)
    before = [path for path in settings.MIDDLEWARE[:ours] if path in THAT_QUERY] if ours is not None else []
    if before:
        yield Warning(
            f"{listed(before)} may query the database outside of ReadYourWritesMiddleware, and so read from a reader "
            "what the request before has just changed.",
            hint=f"Put {MIDDLEWARE!r} before it in MIDDLEWARE.",
            id="aurora_routing.W011",
        )


def check_atomic_requests(known: Clusters) -> Messages:
    """W012: every request opens a transaction on a reader."""
    for alias in _readers(known):
        if connections.settings[alias].get("ATOMIC_REQUESTS"):
            yield Warning(
                f"DATABASES[{alias!r}]: ATOMIC_REQUESTS connects every request to this reader, used or not.",
                hint="Leave it out there; the writer's is enough.",
                id="aurora_routing.W012",
            )


def check_mirrors(known: Clusters) -> Messages:
    """W013: tests would give a reader a database of its own, which stays empty."""
    for alias in _readers(known):
        writer = known.by_alias[alias].writer
        if (connections.settings[alias].get("TEST") or {}).get("MIRROR") != writer:
            yield Warning(
                f"DATABASES[{alias!r}] is a reader of {writer!r}, but not its mirror in tests.",
                hint=f"Set DATABASES[{alias!r}]['TEST'] = {{'MIRROR': {writer!r}}}.",
                id="aurora_routing.W013",
            )


def check_readers_are_elsewhere(known: Clusters) -> Messages:
    """W014: a reader is its writer under another name."""
    for alias in _readers(known):
        config, writer = connections.settings[alias], known.by_alias[alias].writer
        # Tests make an SQLite reader so; engines with the option find a reader themselves.
        if "sqlite" in config["ENGINE"] or config["OPTIONS"].get("read_only"):
            continue
        if is_same_database(config, connections.settings[writer]):
            yield Warning(
                f"DATABASES[{alias!r}] is a reader of {writer!r}, but leads to the same server.",
                hint="Set HOST to that of a replica; or OPTIONS['read_only'], with the engine of this package, which "
                "finds the cluster's readers.",
                id="aurora_routing.W014",
            )


def check_sessions_and_caches(known: Clusters) -> Messages:
    """W015: what has to be seen at once is read from readers."""
    always = routing_settings().always_writer
    in_database = ("django.contrib.sessions.backends.db", "django.contrib.sessions.backends.cached_db")
    caches = [cache.get("BACKEND") for cache in settings.CACHES.values()]
    wanted = [
        (settings.SESSION_ENGINE in in_database, "sessions", "sessions.Session", "A login may be lost"),
        (
            "django.core.cache.backends.db.DatabaseCache" in caches,
            "django_cache",
            "django_cache.CacheEntry",
            "A cached value may be stale",
        ),
    ]
    for is_used, label, model, consequence in wanted:
        if known.readers and is_used and label not in always and model not in always:
            yield Warning(
                f"{consequence}: it is in the database, and AURORA_ROUTING['ALWAYS_WRITER'] lets it be read from "
                "readers.",
                hint=f"Add {label!r} to ALWAYS_WRITER.",
                id="aurora_routing.W015",
            )


def check_lag_is_known(known: Clusters) -> Messages:
    """W016: settings that need to know how far readers are behind, and engines that do not tell."""
    routing = routing_settings()
    asked = [
        ("MAX_LAG", routing.max_lag is not None, "they are never read from", "Leave it at None"),
        ("PIN_POLICY", routing.pin_policy != "window", "pins last for PIN_SECONDS", "Leave it at 'window'"),
    ]
    for key, is_set, consequence, remedy in asked:
        if is_set and (silent := [alias for alias in _readers(known) if not _is_ours(alias)]):
            yield Warning(
                f"AURORA_ROUTING[{key!r}] is {getattr(routing, key.lower())!r}, but the engine of {listed(silent)} "
                f"does not tell the lag of a reader: {consequence}.",
                hint=f"{remedy}, or use an engine of django_aurora_routing.backends for these aliases.",
                id="aurora_routing.W016",
            )


def check_relations() -> Messages:
    """W017: models that are related, in databases that are not."""
    seen = set()
    for model in apps.get_models(include_auto_created=True) if _is_split() else ():
        for field in model._meta.local_concrete_fields:
            if not isinstance(field, ForeignKey) or not getattr(field, "db_constraint", True):
                continue
            here, there = _place_of(model), _place_of(field.related_model)
            pair = model._meta.app_label, field.related_model._meta.app_label
            if is_same_place(here, there) or pair in seen:
                continue
            seen.add(pair)
            yield Warning(
                f"{model._meta.label}.{field.name} is a foreign key to {field.related_model._meta.label}, but the "
                f"first is in {_where(here)} and the second in {_where(there)}.",
                hint="Name the same database for both in APP_LABELS; or give the field db_constraint=False, and query "
                "without joins.",
                id="aurora_routing.W017",
            )


def check_contrib_apps(known: Clusters) -> Messages:
    """W018: migrate fills tables of contrib apps by itself, in more than one database."""
    labels = ("contenttypes.ContentType", "auth.Permission", "sites.Site")
    for label in labels if _is_split() else ():
        app_label, model_name = label.split(".")
        if not apps.is_installed(f"django.contrib.{app_label}"):
            continue
        model = apps.get_model(app_label, model_name)
        aliases: list[str] = []
        for alias in connections:
            config = connections.settings[alias]
            if alias in known.readers or config["TEST"].get("MIRROR") or config["ENGINE"].endswith("dummy"):
                continue
            if any(is_same_database(config, connections.settings[other]) for other in aliases):
                continue
            if router.allow_migrate_model(alias, model):
                aliases.append(alias)
        if len(aliases) > 1:
            yield Warning(
                f"{label} is migrated to {listed(aliases)}; each makes rows of its own, whose keys differ.",
                hint=f"Name its database in APP_LABELS, e.g. {app_label!r}: {aliases[0]!r}.",
                id="aurora_routing.W018",
            )


def check_reads_in_atomic(known: Clusters) -> Messages:
    """W019: no request ever reads from a reader."""
    if routing_settings().reads_in_atomic != "any":
        return
    for cluster in known.by_name.values():
        if cluster.readers and connections.settings[cluster.writer].get("ATOMIC_REQUESTS"):
            yield Warning(
                f"DATABASES[{cluster.writer!r}]: with ATOMIC_REQUESTS and AURORA_ROUTING['READS_IN_ATOMIC'] = 'any', "
                "every request reads from the writer.",
                hint="Set READS_IN_ATOMIC to 'explicit'.",
                id="aurora_routing.W019",
            )


def check_cache_is_shared() -> Messages:
    """W020: pins are kept in a cache that other processes do not see."""
    backend = settings.CACHES.get("default", {}).get("BACKEND", "")
    if _position(MIDDLEWARE) is not None and routing_settings().pin_store == "cache" and backend in OF_ONE_PROCESS:
        yield Warning(
            f"AURORA_ROUTING['PIN_STORE'] is 'cache', and CACHES['default'] is {backend!r}: a request that another "
            "process serves does not see the writes of the one before.",
            hint="Use a cache that all processes share, or PIN_STORE = 'cookie'.",
            id="aurora_routing.W020",
        )


def check_labels_exist() -> Messages:
    """W021: an AppLabelRouter names an app or model that is not there."""
    models = {model._meta.label_lower: model._meta.label for model in apps.get_models()}
    for one in _routers(AppLabelRouter):
        for label in places_of(one).by_label:
            if label not in apps.app_configs and label not in models:
                nearest = did_you_mean(label, [*apps.app_configs, *models.values()])
                yield Warning(
                    f"{_name(one)}: there is no app or model {label!r}.",
                    hint=nearest.strip() or "Labels are those of apps, as 'auth', or of models, as 'auth.User'.",
                    id="aurora_routing.W021",
                )


def check_middleware_is_there(known: Clusters) -> Messages:
    """I010: requests do not know what the requests before have written."""
    if known.readers and _routers(ReadWriteRouter) and _position(MIDDLEWARE) is None:
        yield Info(
            "Without ReadYourWritesMiddleware a person's next request may not see what this one has written.",
            hint=f"Put {MIDDLEWARE!r} first in MIDDLEWARE"
            + (", but for SessionMiddleware." if routing_settings().pin_store == "session" else "."),
            id="aurora_routing.I010",
        )


# -- what they ask


def _routers(kind: Any) -> list[Any]:
    return [one for one in router.routers if isinstance(one, kind)]


def _is_split() -> bool:
    """Whether an AppLabelRouter has anything to say."""
    return any(places_of(one).by_label for one in _routers(AppLabelRouter))


def _name(one: object) -> str:
    return type(one).__qualname__


def _position(middleware: str) -> int | None:
    return settings.MIDDLEWARE.index(middleware) if middleware in settings.MIDDLEWARE else None


def _readers(known: Clusters) -> list[str]:
    return [alias for alias in connections if alias in known.readers]


def _is_ours(alias: str) -> bool:
    package = __name__.partition(".")[0]
    return any(base.__module__.startswith(f"{package}.backends.") for base in type(connections[alias]).__mro__)


def _place_of(model: Any) -> Place | None:
    return next(filter(None, (places_of(one).of(model) for one in _routers(AppLabelRouter))), None)


def _where(place: Place | None) -> str:
    return "the default database" if place is None else repr(place.name)


def _guarded(check: Any) -> Check:
    """`check`, given the clusters if it wants them, and silent while there is something wrong with the settings."""
    wants_clusters = "known" in check.__annotations__

    def guarded(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
        if check_settings(app_configs):
            return []
        if check is not check_app_labels and any(check_app_labels()):
            return []
        return list(check(clusters()) if wants_clusters else check())

    guarded.__doc__ = check.__doc__
    return guarded


CHECKS: tuple[Check, ...] = (
    check_settings,
    *map(
        _guarded,
        (
            check_app_labels,
            check_router_order,
            check_prefix,
            check_session_comes_first,
            check_pin_store,
            check_cluster_of_router,
            check_routers_are_there,
            check_middleware_comes_early,
            check_atomic_requests,
            check_mirrors,
            check_readers_are_elsewhere,
            check_sessions_and_caches,
            check_lag_is_known,
            check_relations,
            check_contrib_apps,
            check_reads_in_atomic,
            check_cache_is_shared,
            check_labels_exist,
            check_middleware_is_there,
        ),
    ),
)
