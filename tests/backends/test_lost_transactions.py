"""A loss inside every kind of transaction that Django opens: never a half, and nothing left of it afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import types
import unittest
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections, transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.test import Client, TestCase, TransactionTestCase, override_settings
from django.urls import path

from django_aurora_routing import FailoverError, FailoverSuccessError
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_all_or_nothing import Row
from .test_failover import execute, insert, is_clean, kill_and_promote, rows, writer  # noqa: F401
from .test_placement import server_of

pytestmark = pytest.mark.lab


def is_as_new(alias: str, cluster: LocalCluster) -> bool:
    """Nothing of a transaction is left, and the next use is on the writer."""
    return is_clean(alias) and server_of(alias) == cluster.writer.id


# TestCase


def outcome(case: type[unittest.TestCase]) -> dict[str, str]:
    """Runs a class of tests; the last line of each one's errors, by its name; two of one test make two lines."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    found: dict[str, str] = {}
    for test, text in [*result.errors, *result.failures]:
        name = str(test).split()[0]
        found[name] = found.get(name, "") + text.strip().splitlines()[-1].partition(":")[0].rpartition(".")[2]
    return found


@pytest.fixture
def cases(cluster: LocalCluster, writer: str, aliases: Aliases) -> Callable[..., type[TestCase]]:  # noqa: F811
    other = aliases.add("other")

    class Base(TestCase):
        databases = {writer, other}

        @classmethod
        def setUpTestData(cls) -> None:
            insert(writer, 1)

        def test_b_after_it(self) -> None:
            assert Row.objects.using(writer).count() == 1
            insert(writer, 2)
            insert(other, 3)

    def make(**members: Any) -> type[TestCase]:
        return type("Case", (Base,), members)

    return make


def test_a_test_that_loses_its_connection_fails_with_that_and_the_next_class_goes_on(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    cases: Callable[..., type[TestCase]],
) -> None:
    def test_a(self: Any) -> None:
        insert(writer, 2)
        kill_and_promote(cluster)
        insert(writer, 3)

    # The second test of that class lacks the rows of setUpTestData(), which are gone with the transaction.
    assert outcome(cases(test_a=test_a)) == {
        "test_a": "FailoverSuccessError",
        "test_b_after_it": "FailoverSuccessError",
    }
    for alias in (writer, "other"):
        assert is_as_new(alias, cluster)
    assert outcome(cases()) == {}
    assert rows(cluster) == []


def test_a_test_that_swallows_a_loss_leaves_nothing_either(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    cases: Callable[..., type[TestCase]],
) -> None:
    def test_a(self: Any) -> None:
        with contextlib.suppress(DatabaseError), transaction.atomic(using=writer):
            kill_and_promote(cluster)
            insert(writer, 3)

    assert outcome(cases(test_a=test_a)) == {"test_b_after_it": "FailoverSuccessError"}
    assert outcome(cases()) == {}
    assert is_as_new(writer, cluster)
    assert rows(cluster) == []


def test_a_loss_that_only_the_end_of_a_test_meets_fails_nothing(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    cases: Callable[..., type[TestCase]],
) -> None:
    assert outcome(cases(test_c=lambda self: kill_and_promote(cluster))) == {}
    assert outcome(cases()) == {}
    assert rows(cluster) == []


def test_on_commit_of_a_test_case_is_not_run_by_a_loss(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    cases: Callable[..., type[TestCase]],
) -> None:
    ran: list[str] = []

    def test_a(self: TestCase) -> None:
        with (
            pytest.raises(FailoverSuccessError),
            self.captureOnCommitCallbacks(using=writer, execute=True) as callbacks,
            transaction.atomic(using=writer),
        ):
            transaction.on_commit(lambda: ran.append("hook"), using=writer)
            kill_and_promote(cluster)
            insert(writer, 3)
        assert callbacks == []

    assert "test_a" not in outcome(cases(test_a=test_a))
    assert ran == []


def test_a_transaction_test_case_goes_on(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    class Case(TransactionTestCase):
        databases = {writer}
        available_apps: list[str] = []

        def test_a(self) -> None:
            with transaction.atomic(using=writer):
                insert(writer, 1)
                kill_and_promote(cluster)
                insert(writer, 2)

        def test_b(self) -> None:
            insert(writer, 3)

    assert outcome(Case) == {"test_a": "FailoverSuccessError"}
    assert rows(cluster) == [3]


# Requests


def change(request: HttpRequest) -> HttpResponse:
    insert("w", 1)
    ACTS.pop()()
    if request.GET.get("swallow"):
        with contextlib.suppress(DatabaseError), transaction.atomic(using="w"):
            insert("w", 2)
    else:
        insert("w", 2)
    return HttpResponse("done")


def give_up(request: HttpRequest) -> HttpResponse:
    """As Django REST framework does: the error becomes an answer, and the transaction is to be rolled back."""
    insert("w", 1)
    ACTS.pop()()
    try:
        insert("w", 2)
    except DatabaseError:
        transaction.set_rollback(True, using="w")
        return HttpResponse("sorry", status=503)
    return HttpResponse("done")


ACTS: list[Callable[[], Any]] = []
URLS = types.ModuleType("tests.backends.urls_of_this_test")
URLS.urlpatterns = [path("change/", change), path("give-up/", give_up)]  # type: ignore[attr-defined]


@pytest.fixture
def client(aliases: Aliases, table: str) -> Iterator[Client]:
    aliases.add("w", ATOMIC_REQUESTS=True)
    with override_settings(ROOT_URLCONF=URLS, MIDDLEWARE=[]):
        yield Client(raise_request_exception=False)
    ACTS.clear()


@pytest.mark.parametrize("query", ["", "?swallow=1"])
def test_a_request_whose_transaction_is_lost_is_an_error_and_the_next_one_is_not(
    cluster: LocalCluster, client: Client, query: str
) -> None:
    ACTS.append(lambda: kill_and_promote(cluster))
    assert client.get(f"/change/{query}").status_code == 500
    assert is_clean("w")
    assert rows(cluster) == []
    ACTS.append(lambda: None)
    assert client.get(f"/change/{query}").status_code == 200
    assert rows(cluster) == [1, 2]
    assert is_as_new("w", cluster)


def test_a_view_that_rolls_back_by_itself_answers_as_it_wants(cluster: LocalCluster, client: Client) -> None:
    ACTS.append(lambda: kill_and_promote(cluster))
    assert client.get("/give-up/").status_code == 503
    assert is_as_new("w", cluster)
    assert rows(cluster) == []


# Attacks: ways to lose sight of a loss


def test_rolling_back_by_wish_is_no_error_and_taking_the_wish_back_is(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    for wishes in ([True], [True, False], [False]):
        cluster.heal()
        lost = contextlib.nullcontext() if wishes == [True] else pytest.raises(FailoverSuccessError)
        with lost, transaction.atomic(using=writer):  # type: ignore[attr-defined]
            insert(writer, 1)
            kill_and_promote(cluster)
            with contextlib.suppress(DatabaseError):
                insert(writer, 2)
            for wish in wishes:
                transaction.set_rollback(wish, using=writer)
        assert is_as_new(writer, cluster)
        assert rows(cluster) == []


def test_a_wish_of_an_inner_block_is_not_one_of_the_outer(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        with transaction.atomic(using=writer):
            kill_and_promote(cluster)
            with contextlib.suppress(DatabaseError):
                insert(writer, 2)
            transaction.set_rollback(True, using=writer)
    assert is_as_new(writer, cluster)
    assert rows(cluster) == []


def test_a_wish_of_one_block_is_not_one_of_the_next(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    with transaction.atomic(using=writer):
        kill_and_promote(cluster)
        with contextlib.suppress(DatabaseError):
            insert(writer, 1)
        transaction.set_rollback(True, using=writer)
    cluster.heal()
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 2)
        kill_and_promote(cluster)
        with contextlib.suppress(DatabaseError):
            insert(writer, 3)
    assert rows(cluster) == []


@pytest.mark.parametrize("step", ["savepoint_commit", "savepoint_rollback"])
def test_savepoints_by_hand_do_not_hide_a_loss(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    step: str,
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        sid = connections[writer].savepoint()
        insert(writer, 2)
        kill_and_promote(cluster)
        with contextlib.suppress(DatabaseError):
            insert(writer, 3)
        with contextlib.suppress(DatabaseError):
            getattr(transaction, step)(sid, using=writer)
        transaction.clean_savepoints(using=writer)
    assert is_as_new(writer, cluster)
    assert rows(cluster) == []


def test_a_generator_that_holds_a_block_open_loses_it_as_a_whole(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    def steps() -> Iterator[int]:
        with transaction.atomic(using=writer):
            for key in range(1, 5):
                insert(writer, key)
                yield key

    taken = steps()
    assert next(taken) == 1
    kill_and_promote(cluster)
    with pytest.raises(FailoverSuccessError):
        insert(writer, 10)  # by others, in the same block
    taken.close()
    assert is_as_new(writer, cluster)
    assert rows(cluster) == []


def test_a_block_around_coroutines_is_lost_as_a_whole(cluster: LocalCluster, writer: str) -> None:  # noqa: F811
    def begin() -> Any:
        block = transaction.atomic(using=writer)
        block.__enter__()
        return block

    async def main() -> None:
        block = await sync_to_async(begin)()
        await Row.objects.using(writer).acreate(id=1)
        await asyncio.to_thread(kill_and_promote, cluster)
        with pytest.raises(FailoverError):
            await Row.objects.using(writer).acreate(id=2)
        with pytest.raises(FailoverSuccessError):
            await sync_to_async(block.__exit__)(None, None, None)
        assert await sync_to_async(is_clean)(writer)
        await Row.objects.using(writer).acreate(id=3)
        await sync_to_async(connections.close_all)()

    asyncio.run(main())
    assert rows(cluster) == [3]


@pytest.mark.parametrize(
    "work",
    [
        lambda rows: list(rows.select_for_update().filter(id__gt=0)),
        lambda rows: rows.bulk_create([Row(id=key) for key in range(10, 20)], batch_size=3),
        lambda rows: rows.bulk_update([Row(id=1, v="b")], ["v"]),
        lambda rows: rows.update_or_create(id=1, defaults={"v": "b"}),
        lambda rows: rows.filter(id=1).delete(),
        lambda rows: rows.get(id=1),
        lambda rows: list(rows.iterator()),
        lambda rows: rows.in_bulk([1]),
        lambda rows: rows.aggregate(n=Count("*")),
        lambda rows: rows.raw("SELECT * FROM t WHERE id = %s", [1])[0],
        lambda rows: connections[rows.db].check_constraints(),
        lambda rows: connections[rows.db].introspection.table_names(),
    ],
    ids=[
        *("select_for_update", "bulk_create", "bulk_update", "update_or_create", "delete", "get", "iterator"),
        *("in_bulk", "aggregate", "raw", "check_constraints", "introspection"),
    ],
)
def test_whatever_meets_the_loss_the_block_fails(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    work: Callable[[Any], Any],
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        insert(writer, 1)
        cluster.writer.reset()
        with pytest.raises(FailoverSuccessError):
            work(Row.objects.using(writer))
    assert is_as_new(writer, cluster)
    assert rows(cluster) == []


# Cursors that were kept


def test_a_cursor_that_was_kept_goes_on_with_the_new_connection(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    cursor = connections[writer].cursor()
    cursor.execute("SELECT 1")
    kill_and_promote(cluster)
    insert(writer, 1)  # by another cursor, which connects anew
    present = connections[writer].connection
    cursor.execute("INSERT INTO t VALUES (2, 'a')")
    with transaction.atomic(using=writer):
        insert(writer, 3)
        cursor.execute("INSERT INTO t VALUES (4, 'a')")
    cursor.executemany("INSERT INTO t VALUES (%s, 'a')", [[5], [6]])
    assert connections[writer].connection is present
    assert rows(cluster) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("way", ["execute", "executemany", "callproc"])
def test_a_cursor_that_was_kept_over_a_planned_switchover_goes_on(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
    way: str,
) -> None:
    cluster.writer.query("CREATE OR REPLACE PROCEDURE app.one() SQL SECURITY INVOKER INSERT INTO t VALUES (2, 'a')")
    cluster.catch_up()
    cursor = connections[writer].cursor()
    cursor.execute("SELECT 1")
    cluster.promote()
    insert(writer, 1)
    if way == "callproc":
        cursor.callproc("one")
    elif way == "executemany":
        cursor.executemany("INSERT INTO t VALUES (%s, 'a')", [[2]])
    else:
        cursor.execute("INSERT INTO t VALUES (2, 'a')")
    assert rows(cluster) == [1, 2]


def test_a_cursor_that_was_kept_in_a_lost_block_gives_the_blocks_own_error(
    cluster: LocalCluster,
    writer: str,  # noqa: F811
) -> None:
    with pytest.raises(FailoverSuccessError), transaction.atomic(using=writer):
        cursor = connections[writer].cursor()
        cursor.execute("INSERT INTO t VALUES (1, 'a')")
        kill_and_promote(cluster)
        for _ in range(3):
            with pytest.raises(FailoverSuccessError):
                cursor.execute("INSERT INTO t VALUES (2, 'a')")
    with transaction.atomic(using=writer):
        cursor.execute("INSERT INTO t VALUES (3, 'a')")
    assert rows(cluster) == [3]


def test_a_cursor_whose_connection_the_application_has_closed_is_closed(writer: str) -> None:  # noqa: F811
    cursor = connections[writer].cursor()
    cursor.execute("SELECT 1")
    connections[writer].close()
    with pytest.raises(DatabaseError) as closed:
        cursor.execute("SELECT 1")
    assert not isinstance(closed.value, FailoverError)
    assert execute(writer, "SELECT 1") == [(1,)]
    cursor.close()
