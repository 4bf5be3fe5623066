"""retry_on_failover where no server decides: which functions, whose transaction, how often; on SQLite files."""

from __future__ import annotations

import asyncio
import functools
import unittest
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.test import TestCase

from django_aurora_routing import (
    FailoverSuccessError,
    TransactionResolutionUnknownError,
    in_database,
    on_commit,
    retry_on_failover,
)
from tests.routing.conftest import databases as databases
from tests.routing.models import Author

pytestmark = pytest.mark.usefixtures("databases")


def names(alias: str = "default") -> list[str]:
    return list(Author.objects.using(alias).order_by("pk").values_list("name", flat=True))


class Lost:
    """Adds an author and then raises, in its first runs, what a backend raises after a loss."""

    def __init__(self, times: int, error: type[Exception] = FailoverSuccessError) -> None:
        self.runs, self.times, self.error = 0, times, error

    def __call__(self, alias: str | None = None) -> int:
        self.runs += 1
        Author.objects.using(alias).create(name=f"run {self.runs}")
        if self.runs <= self.times:
            raise self.error("as told")
        return self.runs


def test_it_is_used_with_and_without_arguments() -> None:
    @retry_on_failover
    def bare(name: str, *, alias: str) -> str:
        """What it does."""
        assert connections[alias].in_atomic_block
        return name

    @retry_on_failover("external", attempts=2)
    def named(name: str) -> str:
        assert connections["external"].in_atomic_block
        assert not connections["default"].in_atomic_block
        return name

    assert bare("a", alias="default") == "a"
    assert bare.__doc__ == "What it does."
    assert named("b") == "b"
    with in_database("external", write=True):
        assert bare("c", alias="external") == "c"


def test_what_was_rolled_back_is_run_again_as_often_as_told() -> None:
    lost = Lost(times=2)
    assert retry_on_failover()(lost)() == 3
    assert names() == ["default", "run 3"]
    lost = Lost(times=2)
    with pytest.raises(FailoverSuccessError):
        retry_on_failover(attempts=2)(lost)()
    assert lost.runs == 2
    assert names() == ["default", "run 3"]


@pytest.mark.parametrize("error", [ValueError, TransactionResolutionUnknownError])
@pytest.mark.parametrize("exactly_once", [False, True])
def test_other_errors_are_the_functions_own(error: type[Exception], exactly_once: bool) -> None:
    """An unknown write on another database, too: only what COMMIT itself said can be asked about."""
    lost = Lost(times=1, error=error)
    with pytest.raises(error):
        retry_on_failover(exactly_once=exactly_once)(lost)()
    assert lost.runs == 1
    assert names() == ["default"]


def test_what_a_hook_raises_does_not_have_the_committed_run_again() -> None:
    def hook() -> None:
        raise FailoverSuccessError("of its own transaction")

    @retry_on_failover
    def work() -> None:
        Author.objects.create(name="once")
        on_commit(hook)

    with pytest.raises(FailoverSuccessError):
        work()
    assert names() == ["default", "once"]


def test_a_rollback_that_the_function_wants_is_no_loss() -> None:
    @retry_on_failover(exactly_once=True)
    def work() -> str:
        Author.objects.create(name="never")
        transaction.set_rollback(True)
        return "done"

    assert work() == "done"
    assert names() == ["default"]


def test_inside_another_transaction_it_runs_once_and_that_one_can_be_run_again() -> None:
    inner = Lost(times=1)
    with pytest.raises(FailoverSuccessError), transaction.atomic():
        retry_on_failover(inner)()
    assert inner.runs == 1
    inner = Lost(times=1)
    outer = retry_on_failover(lambda: retry_on_failover(inner)())
    assert outer() == 2
    assert names() == ["default", "run 2"]


def test_exactly_once_is_refused_where_it_could_not_be_kept() -> None:
    once = retry_on_failover(exactly_once=True)(Lost(times=0))
    with pytest.raises(RuntimeError, match="inside a transaction on 'default'"), transaction.atomic():
        once()
    transaction.set_autocommit(False)
    try:
        with pytest.raises(RuntimeError, match="autocommit off"):
            once()
    finally:
        transaction.set_autocommit(True)
    assert names() == ["default"]
    assert once() == 1


def test_one_exactly_once_function_may_call_another() -> None:
    inner = retry_on_failover(exactly_once=True)(Lost(times=1))
    assert retry_on_failover(exactly_once=True)(lambda: inner())() == 2
    assert names() == ["default", "run 2"]
    with pytest.raises(RuntimeError):
        retry_on_failover(lambda: inner())()


def test_an_asynchronous_one_too() -> None:
    @retry_on_failover(exactly_once=True)
    async def inner() -> None:
        await Author.objects.acreate(name="inner")

    @retry_on_failover(exactly_once=True)
    async def outer(error: Exception | None = None) -> None:
        await inner()
        if error is not None:
            raise error

    asyncio.run(outer())
    with pytest.raises(ValueError, match="outer"):
        asyncio.run(outer(ValueError("outer")))
    assert names() == ["default", "inner"]


def test_a_test_case_is_nobodys_transaction() -> None:
    class Cases(TestCase):
        def test(self) -> None:
            once = retry_on_failover(exactly_once=True)
            with self.captureOnCommitCallbacks() as hooks:
                once(lambda: once(Lost(times=0))())()
            assert hooks == []
            assert names() == ["default", "run 1"]

    result = unittest.TestResult()
    unittest.TestSuite([Cases("test")]).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert names() == ["default"]


def generating() -> Iterator[int]:
    yield 1


async def agenerating() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [generating, agenerating, functools.partial(generating)])
def test_generators_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="generators"):
        retry_on_failover(function)


def test_no_attempt_is_none() -> None:
    with pytest.raises(ValueError, match="attempts"):
        retry_on_failover(attempts=0)


# -- async


def test_an_asynchronous_function_has_its_queries_in_the_transaction() -> None:
    runs: list[bool] = []

    @retry_on_failover
    async def work(name: str) -> str:
        await Author.objects.acreate(name=name)
        runs.append(await sync_to_async(lambda: connections["default"].in_atomic_block)())
        await asyncio.gather(*[Author.objects.acreate(name=f"{name} {number}") for number in range(3)])
        await asyncio.sleep(0)
        if len(runs) == 1:
            raise FailoverSuccessError("as told")
        return name

    async def main() -> list[str]:
        return await asyncio.gather(*[work(name) for name in ("a", "b", "c")])

    assert asyncio.run(main()) == ["a", "b", "c"]
    assert runs == [True] * 4
    assert sorted(names()) == sorted(
        ["default", *"abc", *[f"{name} {number}" for name in "abc" for number in range(3)]]
    )
    assert not connections["default"].in_atomic_block


def test_an_asynchronous_function_follows_the_blocks_of_its_call_and_its_error_comes_out() -> None:
    @retry_on_failover
    async def work() -> None:
        await Author.objects.acreate(name="there")
        if await Author.objects.filter(name="there").acount() == 2:
            raise ValueError("twice")

    async def main() -> None:
        async with in_database("external", write=True):
            await work()
            with pytest.raises(ValueError, match="twice"):
                await work()

    asyncio.run(main())
    assert names() == ["default"]
    assert names("external") == ["external", "there"]
