"""`migrate_all` on a real cluster: the writer's alias is migrated, and the readers get the tables from there."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from ..test_migrate_all import ROUTERS, Shop
from .conftest import Aliases

pytestmark = pytest.mark.lab


class ShopOnTheCluster(Shop):
    places = ("writer", "again", "reader")


def test_a_cluster_is_migrated_once_and_at_its_writer(aliases: Aliases) -> None:
    aliases.add("writer")
    aliases.add("again", connect_timeout=3)
    aliases.add("reader", read_only=True, TEST={"MIRROR": "writer"})
    out = StringIO()
    with override_settings(DATABASE_ROUTERS=[ShopOnTheCluster(), *ROUTERS], AURORA_ROUTING={}):
        with pytest.raises(CommandError, match="not applied on 'writer'"):
            call_command("migrate_all", "shop", "--check", skip_checks=True, verbosity=0)
        try:
            call_command("migrate_all", "shop", stdout=out, skip_checks=True)
            call_command("migrate_all", "shop", "--check", skip_checks=True, verbosity=0)
            assert "shop_order" in connections["writer"].introspection.table_names()
        finally:
            call_command("migrate_all", "shop", "zero", skip_checks=True, verbosity=0)
            with connections["writer"].cursor() as cursor:
                cursor.execute("DROP TABLE django_migrations")
    said = out.getvalue()
    assert "Not again: the same database as 'writer'.\nNot reader: a reader of 'writer'.\n" in said
    assert "[1/1] writer: done, 1 migration applied, " in said
