"""Transactions of blocks on a real server: what is rolled back there, and what other sessions see meanwhile."""

from __future__ import annotations

import contextlib

import pytest
from django.db import transaction
from django.test import override_settings

from django_aurora_routing import atomic, connection, in_database
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases

pytestmark = pytest.mark.lab


class Undo(Exception):
    pass


def insert(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (%s, 'x')", [number])


def rows(cluster: LocalCluster) -> list[int]:
    return [int(row[0]) for row in cluster.writer.query("SELECT id FROM app.t ORDER BY id")]


@pytest.mark.usefixtures("table")
def test_a_block_that_fails_is_rolled_back_on_its_server(cluster: LocalCluster, aliases: Aliases) -> None:
    alias = aliases.add("apart")
    with contextlib.suppress(Undo), in_database(alias, write=True, atomic=True):
        insert(1)
        with contextlib.suppress(Undo), atomic():
            insert(2)
            raise Undo
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM t")
            assert [row[0] for row in cursor.fetchall()] == [1]
        assert rows(cluster) == []
        raise Undo
    assert rows(cluster) == []
    with in_database(alias, write=True, atomic=True):
        insert(3)
    assert rows(cluster) == [3]


@pytest.mark.usefixtures("table")
@override_settings(AURORA_ROUTING={"TRANSACTIONS_FOLLOW_BLOCKS": True})
def test_djangos_own_atomic_follows_to_the_server(cluster: LocalCluster, aliases: Aliases) -> None:
    alias, done = aliases.add("apart"), []
    with in_database(alias, write=True):
        with contextlib.suppress(Undo), transaction.atomic():
            insert(1)
            transaction.on_commit(lambda: done.append(1))
            raise Undo
        with transaction.atomic():
            insert(2)
            transaction.on_commit(lambda: done.append(2))
    assert (rows(cluster), done) == ([2], [2])
