"""A failover that on_commit() hooks meet is reported like any other; the transaction before them stands."""

from __future__ import annotations

import pytest
from django.db import connections, transaction

from django_aurora_routing import FailoverSuccessError
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import execute, insert, is_clean, kill_and_promote, rows

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("other", [False, True], ids=["same alias", "another"])
def test_a_transaction_that_a_hook_loses_is_reported(
    cluster: LocalCluster, aliases: Aliases, table: str, other: bool
) -> None:
    alias, used = aliases.add("w"), aliases.add("other") if other else "w"
    ran: list[str] = []

    def hook() -> None:
        with transaction.atomic(using=used):
            insert(used, 2)
            kill_and_promote(cluster)
            insert(used, 3)

    with pytest.raises(FailoverSuccessError), transaction.atomic(using=alias):
        insert(alias, 1)
        transaction.on_commit(hook, using=alias)
        transaction.on_commit(lambda: ran.append("later"), using=alias)
    assert rows(cluster) == [1]
    assert ran == [], "as after any other error of a hook"
    assert is_clean(alias)
    execute(alias, "SELECT 1")
    connections[used].close()


def test_a_statement_of_a_hook_is_repeated_like_any_other(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    alias = aliases.add("w")

    def hook() -> None:
        kill_and_promote(cluster)
        insert(alias, 2)

    with transaction.atomic(using=alias):
        insert(alias, 1)
        transaction.on_commit(hook, using=alias)
    assert rows(cluster) == [1, 2]


def test_a_loss_in_a_robust_hook_is_logged_and_leaves_nothing(
    cluster: LocalCluster, aliases: Aliases, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    alias = aliases.add("w")
    ran: list[str] = []

    def hook() -> None:
        with transaction.atomic(using=alias):
            insert(alias, 2)
            kill_and_promote(cluster)
            insert(alias, 3)

    with transaction.atomic(using=alias):
        insert(alias, 1)
        transaction.on_commit(hook, using=alias, robust=True)
        transaction.on_commit(lambda: ran.append("later"), using=alias)
    assert ran == ["later"], "as after any other error of a robust hook"
    assert "lost its connection" in caplog.text
    assert is_clean(alias)
    insert(alias, 4)
    assert rows(cluster) == [1, 4]
