"""A function of any kind with all its work inside a block: def, async def, generator, asynchronous generator.

A generator runs in turns with its consumer, in one context. So each of its steps gets the frames that the
generator left behind at its last yield, its own `with` blocks included, and the consumer gets back its own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from asgiref.sync import iscoroutinefunction

from . import context
from .scopes import opened


class Block(context.Owner, AbstractContextManager[Any, None], AbstractAsyncContextManager[Any, None], Protocol):
    """A block that can be entered, and whose database can be held without entering it."""

    def kept(self, result: Any) -> Any: ...
    def hold(self) -> None: ...
    def let_go(self) -> None: ...
    async def alet_go(self) -> None: ...


def decorated(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, of the same kind as it was, with its body run inside `block`."""
    called = _called(function)
    if inspect.isasyncgenfunction(called):
        return _asynchronous_generator(block, function)
    if inspect.isgeneratorfunction(called):
        return _generator(block, function)
    if iscoroutinefunction(called) or iscoroutinefunction(function):
        return _coroutine(block, function)
    return _function(block, function)


def is_plain_function(function: Callable[..., Any]) -> bool:
    """Whether its work is done when a call of it returns: it is no generator, and nothing asynchronous."""
    called = _called(function)
    is_generator = inspect.isasyncgenfunction(called) or inspect.isgeneratorfunction(called)
    return not (is_generator or iscoroutinefunction(called) or iscoroutinefunction(function))


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """What runs when `function` is called, which may be a partial or an object."""
    called = function
    while isinstance(called, functools.partial):
        called = called.func
    if not inspect.isroutine(called) and not inspect.isclass(called):
        called = type(called).__call__
    return called


def _function(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with block:
            return block.kept(function(*args, **kwargs))

    return inside


def _coroutine(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def inside(*args: Any, **kwargs: Any) -> Any:
        async with block:
            return block.kept(await function(*args, **kwargs))

    return inside


def _generator(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator = function(*args, **kwargs)
        block.hold()
        try:
            frames: context.Frame | None = block.framed(context.current() or opened())
            resume, value = generator.send, None
            while True:
                consumers = context.current()
                context.restore(frames)
                try:
                    produced = resume(value)
                except StopIteration as end:
                    return end.value
                finally:
                    frames = context.current()
                    context.restore(consumers)
                try:
                    resume, value = generator.send, (yield produced)
                except BaseException as thrown:  # noqa: BLE001 (GeneratorExit too: clean-up runs inside the block)
                    resume, value = generator.throw, thrown
        finally:
            block.let_go()

    return inside


def _asynchronous_generator(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def inside(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        block.hold()
        try:
            frames: context.Frame | None = block.framed(context.current() or opened())
            resume, value = generator.asend, None
            while True:
                consumers = context.current()
                context.restore(frames)
                try:
                    produced = await resume(value)
                except StopAsyncIteration:
                    return
                finally:
                    frames = context.current()
                    context.restore(consumers)
                try:
                    resume, value = generator.asend, (yield produced)
                except BaseException as thrown:  # noqa: BLE001 (as above)
                    resume, value = generator.athrow, thrown
        finally:
            await block.alet_go()

    return inside
