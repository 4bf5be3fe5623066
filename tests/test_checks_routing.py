"""System checks of the routing: each message comes for what it names, and only then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.checks import CheckMessage, run_checks
from django.db import connections, models
from django.test import override_settings

from django_aurora_routing.checks.readers import MIDDLEWARE, SESSIONS
from django_aurora_routing.checks.routing import ROUTERS
from django_aurora_routing.config import databases as databases_of
from django_aurora_routing.routers import AppLabelRouter, DynamicDbRouter, ReadWriteRouter
from django_aurora_routing.routing.configs import copied

SQLITE = "django.db.backends.sqlite3"
OURS = "django_aurora_routing.backends.mysql_connector"
DEFAULT = {"ENGINE": SQLITE, "NAME": "a"}
READER = {"ENGINE": SQLITE, "NAME": "b", "TEST": {"MIRROR": "default"}}
CLUSTERS = {"default": {"writer": "default", "readers": ["reader"]}}
AURORA = databases_of({"ENGINE": OURS, "HOST": "shop.cluster-abc123.eu-west-1.rds.amazonaws.com"})
ALL_ROUTERS = [DynamicDbRouter, AppLabelRouter, ReadWriteRouter]


@contextlib.contextmanager
def aliases(databases: dict[str, Any]) -> Iterator[None]:
    """These in the place of DATABASES. Nothing connects to them, so their engines need not be there."""
    before = connections.settings
    connections.settings = connections.configure_settings(copied(databases))
    try:
        yield
    finally:
        connections.settings = before
        for alias in set(databases) - set(before):
            with contextlib.suppress(AttributeError):
                del connections[alias]


def messages(
    routing: dict[str, Any] | None = None,
    *,
    databases: dict[str, Any] | None = None,
    routers: Any = None,
    middleware: Any = (SESSIONS, MIDDLEWARE),
    **settings: Any,
) -> list[CheckMessage]:
    """What is said of a good project with these changes."""
    with (
        aliases(databases or {"default": dict(DEFAULT), "reader": dict(READER)}),
        override_settings(
            AURORA_ROUTING={"CLUSTERS": CLUSTERS, **(routing or {})},
            DATABASE_ROUTERS=[router() for router in (ALL_ROUTERS if routers is None else routers)],
            MIDDLEWARE=list(middleware),
            **settings,
        ),
    ):
        return [m for m in run_checks(tags=["aurora_routing"]) if m.id != "aurora_routing.W001"]


def ids(*args: Any, **kwargs: Any) -> list[str]:
    return [str(message.id).removeprefix("aurora_routing.") for message in messages(*args, **kwargs)]


def only(*args: Any, **kwargs: Any) -> tuple[str, str, str]:
    (message,) = messages(*args, **kwargs)
    return str(message.id).removeprefix("aurora_routing."), message.msg, str(message.hint)


def test_good_settings_pass() -> None:
    assert messages() == []
    assert messages({"CLUSTERS": None}, databases={"default": DEFAULT}, routers=[], middleware=[]) == []


@pytest.mark.parametrize(
    ("routing", "said"),
    [
        ({"CLUSTER": {}}, "AURORA_ROUTING has no 'CLUSTER'. Did you mean 'CLUSTERS'?"),
        ({"PIN_POLICY": "windw"}, "Did you mean 'window'?"),
        ({"CLUSTERS": {"default": {"writer": "defualt"}}}, "DATABASES has no 'defualt'. Did you mean 'default'?"),
        ({"CLUSTERS": {"default": {"writer": "default", "readers": {"raeder": 2}}}}, "Did you mean 'reader'?"),
    ],
)
def test_e010_for_settings_that_routers_would_refuse(routing: dict[str, Any], said: str) -> None:
    check_id, message, _ = only(routing)
    assert check_id == "E010"
    assert said in message


def test_e010_for_a_reader_whose_writer_is_not_clear() -> None:
    read_only = {"ENGINE": SQLITE, "NAME": "b", "OPTIONS": {"read_only": True}}
    assert ids({"CLUSTERS": None}, databases={"default": DEFAULT, "reader": read_only}) == ["E010"]


def test_e011_for_apps_sent_nowhere_or_to_a_reader() -> None:
    assert only({"APP_LABELS": {"auth": "defalt"}})[:1] == ("E011",)
    assert "Did you mean 'default'?" in only({"APP_LABELS": {"auth": "defalt"}})[1]
    assert "must be the name of an alias or a cluster" in only({"APP_LABELS": {"auth": ["default"]}})[1]
    assert "'reader' is a reader" in only({"APP_LABELS": {"auth": "reader"}})[1]
    half = type("Half", (AppLabelRouter,), {"route_app_labels": {"auth"}})
    assert ids(routers=[half, ReadWriteRouter]) == ["E011"]
    assert ids({"APP_LABELS": {"auth": "default"}}) == []


@pytest.mark.parametrize(
    "routers",
    [
        [AppLabelRouter, DynamicDbRouter, ReadWriteRouter],
        [DynamicDbRouter, ReadWriteRouter, AppLabelRouter],
        [ReadWriteRouter, DynamicDbRouter],
    ],
)
def test_e012_for_routers_in_the_wrong_order(routers: list[Any]) -> None:
    check_id, _, hint = only(routers=routers)
    assert check_id == "E012"
    right = ", ".join(repr(router.__name__) for router in ROUTERS if router in routers)
    assert hint == f"Put them in this order: {right}."


def test_e013_for_an_alias_that_looks_dynamic() -> None:
    databases = {"default": DEFAULT, "reader": READER, "dyn_crm": {"ENGINE": SQLITE, "NAME": "c"}}
    check_id, message, hint = only(databases=databases)
    assert (check_id, "'dyn_crm'" in message, "'crm'" in hint) == ("E013", True, True)


def test_e014_for_pins_in_a_session_that_is_not_there_yet() -> None:
    for middleware in ([MIDDLEWARE, SESSIONS], [MIDDLEWARE]):
        assert ids({"PIN_STORE": "session"}, middleware=middleware) == ["E014"]
        assert ids({"PIN_STORE": "cookie"}, middleware=middleware) == []
    assert ids({"PIN_STORE": "session"}) == []


def test_e015_for_a_pin_store_that_cannot_be_found() -> None:
    check_id, message, _ = only({"PIN_STORE": "cokie"})
    assert (check_id, "Did you mean 'cookie'?" in message) == ("E015", True)
    assert ids({"PIN_STORE": "django.core.signing.NoSuchThing"}) == ["E015"]
    assert "cannot be made without arguments" in only({"PIN_STORE": "django.db.models.ForeignKey"})[1]
    assert "has no load()" in only({"PIN_STORE": "django.core.signing.Signer"})[1]
    assert ids({"PIN_STORE": "django_aurora_routing.routing.stores.CookieStore"}) == []


def test_e016_for_a_router_of_no_cluster() -> None:
    crm = type("CrmRouter", (ReadWriteRouter,), {"cluster": "crm"})
    check_id, message, _ = only(routers=[ReadWriteRouter, crm])
    assert (check_id, "CrmRouter is for the cluster 'crm'" in message) == ("E016", True)


def test_e017_for_readers_that_cannot_wait() -> None:
    check_id, message, _ = only({"PIN_POLICY": "reader_session"})
    assert (check_id, "'reader' can be none" in message) == ("E017", True)
    assert ids({"PIN_POLICY": "reader_session"}, databases=AURORA) == []


def test_w010_for_routers_that_are_missing() -> None:
    check_id, message, hint = only(routers=[DynamicDbRouter])
    assert (check_id, "'reader'" in message, "routers.ReadWriteRouter'" in hint) == ("W010", True, True)
    found = {**READER, "OPTIONS": {"read_only": True}}
    assert ids({"CLUSTERS": None}, databases={"default": DEFAULT, "reader": found}, routers=[]) == ["W010"]
    labels = {"APP_LABELS": {"auth": "default"}}
    assert "APP_LABELS" in only(labels, routers=[ReadWriteRouter])[1]


def test_w010_is_content_with_a_subclass() -> None:
    assert ids(routers=[type("Mine", (ReadWriteRouter,), {})]) == []


def test_w011_for_middleware_that_queries_too_early() -> None:
    early = "django.contrib.sites.middleware.CurrentSiteMiddleware"
    check_id, message, _ = only(middleware=[SESSIONS, early, MIDDLEWARE])
    assert (check_id, early in message) == ("W011", True)
    assert ids(middleware=[SESSIONS, MIDDLEWARE, early]) == []


def test_w012_for_atomic_requests_on_a_reader() -> None:
    def databases(**on: bool) -> dict[str, Any]:
        return {
            "default": {**DEFAULT, "ATOMIC_REQUESTS": on["writer"]},
            "reader": {**READER, "ATOMIC_REQUESTS": on["reader"]},
        }

    assert ids(databases=databases(writer=True, reader=True)) == ["W012"]
    assert ids(databases=databases(writer=True, reader=False)) == []


def test_w013_for_a_reader_that_is_no_mirror() -> None:
    check_id, _, hint = only(databases={"default": DEFAULT, "reader": {"ENGINE": SQLITE, "NAME": "b"}})
    assert (check_id, hint) == ("W013", "Set DATABASES['reader']['TEST'] = {'MIRROR': 'default'}.")


def test_w014_for_a_reader_that_is_the_writer() -> None:
    def databases(engine: str, **reader: Any) -> dict[str, Any]:
        default = {"ENGINE": engine, "NAME": "shop", "HOST": "db.example.com", "USER": "shop"}
        return {"default": default, "reader": {**default, "TEST": {"MIRROR": "default"}, **reader}}

    assert ids(databases=databases("tests.engines.postgresql")) == ["W014"]
    assert ids(databases=databases("tests.engines.postgresql", HOST="replica.example.com")) == []
    standby = {"target_session_attrs": "prefer-standby"}
    assert ids(databases=databases("tests.engines.postgresql", OPTIONS=standby)) == []
    assert ids(databases=databases("tests.engines.mysql", CONN_MAX_AGE=5)) == ["W014"]
    assert ids(databases=databases(OURS, OPTIONS={"read_only": True})) == []
    assert ids(databases={"default": DEFAULT, "reader": {**READER, "NAME": "a"}}) == []


def test_w015_for_sessions_and_cached_values_on_readers() -> None:
    caches = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}}
    in_database = {"SESSION_ENGINE": "django.contrib.sessions.backends.cached_db", "CACHES": caches}
    first, second = messages({"ALWAYS_WRITER": ["auth"]}, **in_database)
    assert (first.id, second.id) == ("aurora_routing.W015",) * 2
    assert (first.hint, second.hint) == ("Add 'sessions' to ALWAYS_WRITER.", "Add 'django_cache' to ALWAYS_WRITER.")
    assert ids(**in_database) == []
    assert ids({"ALWAYS_WRITER": ["sessions.Session", "django_cache"]}, **in_database) == []
    assert ids({"ALWAYS_WRITER": []}, SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies") == []


@pytest.mark.parametrize("routing", [{"PIN_POLICY": "lag"}, {"MAX_LAG": 1.5}], ids=lambda routing: str(*routing))
def test_w016_for_a_lag_that_nobody_knows(routing: dict[str, Any]) -> None:
    check_id, message, _ = only(routing)
    assert (check_id, next(iter(routing)) in message, "'reader'" in message) == ("W016", True, True)
    assert ids(routing, databases=AURORA) == []


THREE = {"default": DEFAULT, "reader": READER, "users": {"ENGINE": SQLITE, "NAME": "c"}}
TOGETHER = {label: "users" for label in apps.app_configs if label not in ("sessions", "shop")}


def test_w017_for_contrib_apps_torn_apart() -> None:
    """The rules of Django's documentation: auth with contenttypes, admin with auth."""
    found = messages({"APP_LABELS": {"auth": "users"}}, databases=THREE)
    assert {message.id for message in found} == {"aurora_routing.W017"}
    said = [message.msg for message in found]
    assert any(m.startswith("auth.Permission.content_type is a foreign key to contenttypes.") for m in said)
    assert any(m.startswith("admin.LogEntry.user is a foreign key to auth.User") for m in said)
    assert ids({"APP_LABELS": TOGETHER}, databases=THREE) == []


def test_w017_not_for_foreign_keys_without_constraint() -> None:
    class Visit(models.Model):
        user = models.ForeignKey(User, models.CASCADE, db_constraint=False)

        class Meta:
            app_label = "sessions"

        def __str__(self) -> str:
            return "a visit"

    try:
        assert ids({"APP_LABELS": TOGETHER}, databases=THREE) == []
        vars(Visit._meta.get_field("user"))["db_constraint"] = True
        assert ids({"APP_LABELS": TOGETHER}, databases=THREE) == ["W017"]
    finally:
        del apps.all_models["sessions"]["visit"]
        apps.clear_cache()


def test_w018_for_content_types_in_two_databases() -> None:
    labels = {"shop": "shop"}
    two = {"default": DEFAULT, "reader": READER, "archive": {"ENGINE": SQLITE, "NAME": "c"}}
    with_shop = {**two, "shop": {"ENGINE": SQLITE, "NAME": "d"}}
    found = messages({"APP_LABELS": labels}, databases=with_shop)
    assert [message.id for message in found] == ["aurora_routing.W018"] * 2
    assert found[0].msg.startswith("contenttypes.ContentType is migrated to 'default', 'archive'")
    again = {"archive": {"ENGINE": SQLITE, "NAME": "a"}}
    assert ids({"APP_LABELS": labels}, databases={**with_shop, **again}) == [], "the same database twice"
    assert ids(databases=two, routers=[ReadWriteRouter]) == [], "without an AppLabelRouter there is one home"


def test_w019_for_readers_that_no_request_uses() -> None:
    databases = {"default": {**DEFAULT, "ATOMIC_REQUESTS": True}, "reader": READER}
    assert ids({"READS_IN_ATOMIC": "any"}, databases=databases) == ["W019"]
    assert ids({"READS_IN_ATOMIC": "any"}) == []
    assert ids(databases=databases) == []


def test_w020_for_pins_in_a_cache_of_one_process() -> None:
    local = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    shared = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://cache"}}
    assert ids({"PIN_STORE": "cache"}, CACHES=local) == ["W020"]
    assert ids({"PIN_STORE": "cache"}, CACHES=shared) == []
    assert ids(CACHES=local) == []


def test_w021_for_apps_and_models_that_are_not_there() -> None:
    check_id, message, hint = only({"APP_LABELS": {"shpo": "default"}})
    assert (check_id, "'shpo'" in message, hint) == ("W021", True, "Did you mean 'shop'?")
    assert "Did you mean 'shop.Order'?" in only({"APP_LABELS": {"shop.Oder": "default"}})[2]
    assert ids({"APP_LABELS": {"shop.order": "default", "shop.Product": "default"}}) == []
    check_id, message, hint = only({"ALWAYS_WRITER": ["sessions", "django_cache", "shop.Oder"]})
    assert (check_id, hint) == ("W021", "Did you mean 'shop.Order'?")
    assert "AURORA_ROUTING['ALWAYS_WRITER']" in message
    assert ids({"ALWAYS_WRITER": ["shop.Order"]}) == []


def test_i010_for_writes_that_the_next_request_may_miss() -> None:
    check_id, _, hint = only(middleware=[SESSIONS])
    assert (check_id, hint) == ("I010", f"Put {MIDDLEWARE!r} first in MIDDLEWARE.")
    assert "but for SessionMiddleware" in only({"PIN_STORE": "session"}, middleware=[SESSIONS])[2]
    assert ids(middleware=[], databases={"default": DEFAULT}, routing={"CLUSTERS": None}) == []
