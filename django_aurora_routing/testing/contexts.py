"""Turns a generator function into something for `with`, `async with`, and as a decorator of functions of both kinds."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

T = TypeVar("T")
P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


class Context(Generic[T]):
    """In asynchronous code its work is done where that of the ORM is, whose connections belong to that thread."""

    def __init__(self, make: Callable[[], AbstractContextManager[T]], name: str) -> None:
        self._make = make
        self._name = name
        self._entered: list[AbstractContextManager[T]] = []

    def _enter(self) -> T:
        manager = self._make()
        value = manager.__enter__()
        self._entered.append(manager)
        return value

    def _exit(self, *exc_info: Any) -> bool | None:
        return self._entered.pop().__exit__(*exc_info)

    def __enter__(self) -> T:
        if asyncio._get_running_loop() is not None:
            raise SynchronousOnlyOperation(f"Enter {self._name}() by `async with` in asynchronous code.")
        return self._enter()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._exit(exc_type, exc, traceback)

    async def __aenter__(self) -> T:
        return await sync_to_async(self._enter)()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await sync_to_async(self._exit)(exc_type, exc, traceback)

    def __call__(self, function: F) -> F:
        if iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                async with self:
                    return await function(*args, **kwargs)

            return cast(F, coroutine)

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast(F, inside)


def context(function: Callable[P, Iterator[T]]) -> Callable[P, Context[T]]:
    """As `contextlib.contextmanager`; see the top of the module."""
    make = contextmanager(function)

    @functools.wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> Context[T]:
        return Context(lambda: make(*args, **kwargs), function.__name__)

    return made
