"""A project's own subclass of the engine: losses inside transactions stay what they are."""

from __future__ import annotations

import pytest
from django.db import OperationalError, transaction

from django_aurora_routing import FailoverSuccessError
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import execute, insert, is_clean, kill_and_promote, rows


@pytest.fixture
def writer(aliases: Aliases, table: str) -> str:
    alias = aliases.add("sub", ENGINE="tests.backends.subclassed")
    execute(alias, "SELECT 1")
    return alias


@pytest.mark.parametrize("savepoint", [True, False])
def test_a_loss_swallowed_in_a_nested_block_fails_the_outermost_one(
    cluster: LocalCluster, writer: str, savepoint: bool
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        try:
            with transaction.atomic(using=writer, savepoint=savepoint):
                kill_and_promote(cluster)
                insert(writer, 2)
        except OperationalError:
            pass
    assert is_clean(writer)
    assert rows(cluster) == []


def test_a_connection_that_dies_after_the_commit_costs_nothing(cluster: LocalCluster, writer: str) -> None:
    ran: list[str] = []
    with transaction.atomic(using=writer):
        insert(writer, 1)
        # Django runs this after COMMIT and going back to autocommit; the connection is dead by the next use.
        transaction.on_commit(lambda: (ran.append("ran"), kill_and_promote(cluster)), using=writer)
    assert ran == ["ran"]
    assert is_clean(writer)
    insert(writer, 2)
    assert rows(cluster) == [1, 2]


def test_transactions_by_hand_begin_again_on_the_new_writer(cluster: LocalCluster, writer: str) -> None:
    transaction.set_autocommit(False, using=writer)
    try:
        insert(writer, 1)
        kill_and_promote(cluster)
        with pytest.raises(FailoverSuccessError):
            insert(writer, 2)
        transaction.rollback(using=writer)
        insert(writer, 3)
        transaction.commit(using=writer)
    finally:
        transaction.set_autocommit(True, using=writer)
    assert rows(cluster) == [3]
