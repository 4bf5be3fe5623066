"""Checks of readers, and of what makes people read their own writes: pins and middleware."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import Error, Info, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ..conf import listed, routing_settings
from ..routers import ReadWriteRouter
from ..routing.clusters import Clusters
from ..routing.places import is_same_database
from ..routing.stores import store_of_settings
from .project import Messages, guarded, is_ours, position_of, readers_of, routers_of

MIDDLEWARE = "django_aurora_routing.middleware.ReadYourWritesMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
THAT_QUERY = (
    "django.contrib.auth.middleware.RemoteUserMiddleware",
    "django.contrib.auth.middleware.PersistentRemoteUserMiddleware",
    "django.contrib.sites.middleware.CurrentSiteMiddleware",
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
)
OF_ONE_PROCESS = ("django.core.cache.backends.locmem.LocMemCache", "django.core.cache.backends.dummy.DummyCache")


def check_session_comes_first(known: Clusters) -> Messages:
    """E014: pins are kept in the session, which is not there yet."""
    if position_of(MIDDLEWARE) is None or routing_settings().pin_store != "session":
        return
    if (sessions := position_of(SESSIONS)) is None or sessions > (position_of(MIDDLEWARE) or 0):
        yield Error(
            "AURORA_ROUTING['PIN_STORE'] is 'session', but ReadYourWritesMiddleware does not come after "
            "SessionMiddleware in MIDDLEWARE.",
            hint=f"Put {MIDDLEWARE!r} right behind {SESSIONS!r}.",
            id="aurora_routing.E014",
        )


def check_pin_store(known: Clusters) -> Messages:
    """E015: PIN_STORE is no store, as the middleware would find when the server starts."""
    try:
        store_of_settings()
    except ImproperlyConfigured as error:
        yield Error(str(error), id="aurora_routing.E015")


def check_readers_can_wait(known: Clusters) -> Messages:
    """E017: PIN_POLICY asks readers for something that only Aurora MySQL has."""
    if routing_settings().pin_policy != "reader_session":
        return
    if others := [alias for alias in readers_of(known) if connections[alias].vendor != "mysql"]:
        yield Error(
            "AURORA_ROUTING['PIN_POLICY'] is 'reader_session', which is for Aurora MySQL with write forwarding; "
            f"{listed(others)} can be none.",
            hint="Use 'window', or 'lag' with an engine of this package.",
            id="aurora_routing.E017",
        )


def check_middleware_comes_early(known: Clusters) -> Messages:
    """W011: middleware queries where ReadYourWritesMiddleware does not know of it."""
    ours = position_of(MIDDLEWARE)
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
    for alias in readers_of(known):
        if connections.settings[alias].get("ATOMIC_REQUESTS"):
            yield Warning(
                f"DATABASES[{alias!r}]: ATOMIC_REQUESTS connects every request to this reader, used or not.",
                hint="Leave it out there; the writer's is enough.",
                id="aurora_routing.W012",
            )


def check_mirrors(known: Clusters) -> Messages:
    """W013: tests would give a reader a database of its own, which stays empty."""
    for alias in readers_of(known):
        writer = known.by_alias[alias].writer
        if (connections.settings[alias].get("TEST") or {}).get("MIRROR") != writer:
            yield Warning(
                f"DATABASES[{alias!r}] is a reader of {writer!r}, but not its mirror in tests.",
                hint=f"Set DATABASES[{alias!r}]['TEST'] = {{'MIRROR': {writer!r}}}.",
                id="aurora_routing.W013",
            )


def check_readers_are_elsewhere(known: Clusters) -> Messages:
    """W014: a reader is its writer under another name."""
    for alias in readers_of(known):
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
        (settings.SESSION_ENGINE in in_database, "sessions", "sessions.session", "A login may be lost"),
        (
            "django.core.cache.backends.db.DatabaseCache" in caches,
            "django_cache",
            "django_cache.cacheentry",
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
        ("PIN_POLICY", routing.pin_policy == "lag", "pins last for PIN_SECONDS", "Leave it at 'window'"),
    ]
    for key, is_set, consequence, remedy in asked:
        if is_set and (silent := [alias for alias in readers_of(known) if not is_ours(alias)]):
            yield Warning(
                f"AURORA_ROUTING[{key!r}] is {getattr(routing, key.lower())!r}, but the engine of {listed(silent)} "
                f"does not tell the lag of a reader: {consequence}.",
                hint=f"{remedy}, or use an engine of django_aurora_routing.backends for these aliases.",
                id="aurora_routing.W016",
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


def check_cache_is_shared(known: Clusters) -> Messages:
    """W020: pins are kept in a cache that other processes do not see."""
    backend = settings.CACHES.get("default", {}).get("BACKEND", "")
    if position_of(MIDDLEWARE) is not None and routing_settings().pin_store == "cache" and backend in OF_ONE_PROCESS:
        yield Warning(
            f"AURORA_ROUTING['PIN_STORE'] is 'cache', and CACHES['default'] is {backend!r}: a request that another "
            "process serves does not see the writes of the one before.",
            hint="Use a cache that all processes share, or PIN_STORE = 'cookie'.",
            id="aurora_routing.W020",
        )


def check_middleware_is_there(known: Clusters) -> Messages:
    """I010: requests do not know what the requests before have written."""
    if known.readers and routers_of(ReadWriteRouter) and position_of(MIDDLEWARE) is None:
        yield Info(
            "Without ReadYourWritesMiddleware a person's next request may not see what this one has written.",
            hint=f"Put {MIDDLEWARE!r} first in MIDDLEWARE"
            + (", but for SessionMiddleware." if routing_settings().pin_store == "session" else "."),
            id="aurora_routing.I010",
        )


CHECKS = tuple(
    map(
        guarded,
        (
            check_session_comes_first,
            check_pin_store,
            check_readers_can_wait,
            check_middleware_comes_early,
            check_atomic_requests,
            check_mirrors,
            check_readers_are_elsewhere,
            check_sessions_and_caches,
            check_lag_is_known,
            check_reads_in_atomic,
            check_cache_is_shared,
            check_middleware_is_there,
        ),
    )
)
