"""retry_on_failover: a function in a transaction, run again when a failover has certainly rolled that back.

Owns the decision whether to run it again; what a loss means is told by the backend's errors, and whether a COMMIT
without an answer took place by `tokens`.
"""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Callable
from typing import Any, TypeVar, overload

from asgiref.local import Local
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.db import connections, transaction
from django.db.utils import Error, InterfaceError, OperationalError

from ..errors import FailoverSuccessError, TransactionResolutionUnknownError
from ..routing.decorated import is_plain_function
from ..routing.transactions import current_alias
from . import tokens

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])
_promised: Any = Local(thread_critical=True)  # the aliases that an exactly_once run is open on, in this thread


@overload
def retry_on_failover(using: F) -> F: ...


@overload
def retry_on_failover(using: str | None = None, attempts: int = 3, exactly_once: bool = False) -> Callable[[F], F]: ...


def retry_on_failover(using: Any = None, attempts: int = 3, exactly_once: bool = False) -> Any:
    """Decorate a function to run in `atomic()`, and again after a failover that rolled it back.

    `using` is the alias of the transaction; None leaves it to the blocks in force at each call. The function runs at
    most `attempts` times, then the last error is raised. Inside somebody else's transaction, which alone could be run
    again, it runs once.

    When the answer to COMMIT is lost, TransactionResolutionUnknownError is raised. With `exactly_once` the database
    is asked instead, and the function's result returned or the function run again; that takes one more INSERT for each
    call, and must not be called inside somebody else's transaction (RuntimeError).

    An `async def` is decorated, too: what it does by Django's asynchronous ORM, or by sync_to_async(), is in the
    transaction.
    """
    if callable(using):
        return _decorated(using, None, attempts, exactly_once)
    if attempts < 1:
        raise ValueError(f"attempts must be a number from 1 on, not {attempts!r}.")
    return lambda function: _decorated(function, using, attempts, exactly_once)


def _decorated(
    function: Callable[..., Any], using: str | None, attempts: int, exactly_once: bool
) -> Callable[..., Any]:
    if iscoroutinefunction(function):

        @functools.wraps(function)
        async def arun(*args: Any, **kwargs: Any) -> Any:
            alias = current_alias(write=True) if using is None else using
            # While async_to_sync() waits, the thread that has begun the transaction runs the coroutine's
            # sync_to_async() calls, the ORM's among them.
            call = functools.partial(async_to_sync(function), *args, **kwargs)
            return await sync_to_async(_run)(call, alias, attempts, exactly_once)

        return arun
    if not is_plain_function(function):
        raise TypeError("retry_on_failover() cannot decorate generators, whose work is not done when they are called.")

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        alias = current_alias(write=True) if using is None else using
        return _run(functools.partial(function, *args, **kwargs), alias, attempts, exactly_once)

    return run


def _run(call: Callable[[], Any], alias: str, attempts: int, exactly_once: bool) -> Any:
    connection = connections[alias]
    if connection.in_atomic_block or not connection.get_autocommit():
        return _joined(call, connection, exactly_once)
    if exactly_once:
        call = _promising(alias, call)
    # SQLite has no server that could die between COMMIT and its answer.
    wants_token = exactly_once and connection.vendor != "sqlite"
    for attempt in range(1, attempts + 1):
        if wants_token:
            tokens.prune(connection)
        run = _Run(connection, wants_token)
        try:
            return run.result_of(call)
        except FailoverSuccessError as exc:
            if run.is_committed or attempt == attempts:  # committed: it comes from an on_commit() hook
                raise
            logger.info("alias %r: a transaction was rolled back by a failover and is run again: %s", alias, exc)
        except (OperationalError, InterfaceError) as exc:
            if not run.is_in_doubt:
                raise
            if run.has_taken_place(exc, attempts):
                return run.result
            if not isinstance(exc, TransactionResolutionUnknownError):
                raise  # another engine's: what it means is not ours to say
            if attempt == attempts:
                raise FailoverSuccessError(f"{exc} It was looked up: it has not happened.") from exc
            logger.info("alias %r: a transaction whose COMMIT had no effect is run again: %s", alias, exc)
    raise AssertionError("every attempt ends in one of the ways above")


def _joined(call: Callable[[], Any], connection: Any, exactly_once: bool) -> Any:
    """Run it once, in the transaction that is open. Only whoever began that could run all of it again."""
    is_test = connection.in_atomic_block and connection.atomic_blocks[-1]._from_testcase
    if exactly_once and not is_test and connection.alias not in getattr(_promised, "aliases", ()):
        raise RuntimeError(
            f"retry_on_failover(exactly_once=True) was called inside a transaction on {connection.alias!r} that it "
            "has not begun (atomic(), ATOMIC_REQUESTS, autocommit off), so it can promise nothing."
        )
    with transaction.atomic(connection.alias):
        return _promising(connection.alias, call)() if exactly_once else call()


def _promising(alias: str, call: Callable[[], Any]) -> Callable[[], Any]:
    """`call`, in which other exactly_once functions on the alias are a part of this one."""

    def promising() -> Any:
        before = getattr(_promised, "aliases", ())
        _promised.aliases = (*before, alias)
        try:
            return call()
        finally:
            _promised.aliases = before

    return promising


class _Run:
    """One run of the function in a transaction of its own."""

    def __init__(self, connection: Any, wants_token: bool) -> None:
        self.connection = connection
        self.token = uuid.uuid4().hex if wants_token else None
        self.result: Any = None
        self.is_committed = False
        self._is_done = False
        self._hooks: list[Any] = []

    def result_of(self, call: Callable[[], Any]) -> Any:
        connection = self.connection
        with transaction.atomic(connection.alias):
            transaction.on_commit(self._note_commit, using=connection.alias)  # the first hook: known before any other
            self.result = call()
            if self.token is not None and not connection.needs_rollback:
                tokens.write(connection, self.token)
            self._hooks = list(connection.run_on_commit)
            self._is_done = True
        return self.result

    def _note_commit(self) -> None:
        self.is_committed = True

    @property
    def is_in_doubt(self) -> bool:
        """Whether an error came from COMMIT itself, and there is a token to ask for."""
        return self.token is not None and self._is_done and not self.is_committed

    def has_taken_place(self, cause: Error, attempts: int) -> bool:
        """Ask the database; if it was committed, run the hooks that the lost answer has kept from running."""
        assert self.token is not None
        try:
            is_there = tokens.is_committed(self.connection, self.token, attempts)
        except Error as exc:
            raise TransactionResolutionUnknownError(f"{cause} Nor could it be looked up: {exc}") from exc
        if is_there:
            logger.info("alias %r: a COMMIT whose answer was lost has taken place", self.connection.alias)
            self.connection.run_on_commit = self._hooks
            self.connection.run_and_clear_commit_hooks()
        return is_there
