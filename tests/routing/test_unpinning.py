"""Which writes leave readers fit to be read from."""

from __future__ import annotations

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_aurora_routing.routing.scopes import current_scope, scope
from django_aurora_routing.routing.unpinning import does_not_pin

from .conftest import CLUSTERS
from .models import Author


@pytest.mark.parametrize(
    "sql",
    [
        'INSERT INTO "django_session" ("session_key") VALUES (%s)',
        "UPDATE `django_session` SET `session_data` = %s",
        'DELETE FROM "django_session" WHERE "expire_date" < %s',
        "delete from django_session",
    ],
)
def test_writes_of_sessions_do_not(sql: str) -> None:
    assert does_not_pin(sql)


@pytest.mark.parametrize(
    "sql",
    [
        'INSERT INTO "shop_order" ("id") VALUES (%s)',
        "UPDATE django_session, shop_order SET a = 1",
        "UPDATE django_session JOIN shop_order ON true SET a = 1",
        'WITH new AS (SELECT 1) INSERT INTO "django_session" SELECT * FROM new',
        'INSERT INTO "django_session_log" ("id") VALUES (%s)',
        "TRUNCATE django_session",
        "SELECT touch_orders()",
        "UPDATE django_session SET a = 1; UPDATE shop_order SET a = 1",
    ],
)
def test_what_is_not_certain_does(sql: str) -> None:
    assert not does_not_pin(sql)


def test_models_and_apps_of_always_writer() -> None:
    insert = 'INSERT INTO "auth_user" ("id") VALUES (1)'
    assert not does_not_pin(insert)
    for label in ("auth", "auth.User", "auth.user"):
        with override_settings(AURORA_ROUTING={"ALWAYS_WRITER": [label]}):
            assert does_not_pin(insert)
            assert not does_not_pin("DELETE FROM django_session")


@pytest.mark.usefixtures("both_routers")
def test_trap_28_a_cache_in_the_database_does_not_pin() -> None:
    config = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_table"}}
    with override_settings(CACHES=config):
        call_command("createcachetable", database="default")
        with scope():
            caches["default"].set("key", "value")
            caches["default"].set("key", "other")
            assert caches["default"].get("key") == "other"
            caches["default"].delete("key")
            assert not current_scope().is_pinned("default")
            Author.objects.create(name="new")
            assert current_scope().is_pinned("default")
        with scope(), override_settings(AURORA_ROUTING={**CLUSTERS, "ALWAYS_WRITER": ["sessions"]}):
            connections["default"].ensure_connection()
            caches["default"].set("key", "value")
            assert current_scope().is_pinned("default")
