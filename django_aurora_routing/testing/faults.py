"""Blocks in which a database fails on purpose, for tests of what an application does then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ..backends.wiring import given_options
from ..plugins.dev import Fault, Moment, put_in_force, withdraw

Error = BaseException | Callable[[], BaseException]
"""What is raised: an exception, or a class or function that makes a new one each time."""


@contextlib.contextmanager
def failing_connects(alias: str, error: Error, *, times: int = 1) -> Iterator[Fault]:
    """Have the next `times` connects of an alias fail with `error` while the block lasts, in whatever thread.

    An error of the driver's is taken for the server's own: with a failover, connecting goes on elsewhere. Raises
    ImproperlyConfigured when the alias does not have `dev` in its plugins.
    """
    with _in_force(alias, "connect", error, times, "") as fault:
        yield fault


@contextlib.contextmanager
def failing_statements(alias: str, error: Error, *, times: int = 1, matching: str = "") -> Iterator[Fault]:
    """Have the next `times` statements of an alias that hold the text `matching` fail, before anything is sent.

    The error goes to the application as it is: `FailoverSuccessError("lost")`, say. For what comes with a real loss
    see `cut_connections()`.
    """
    with _in_force(alias, "execute", error, times, matching) as fault:
        yield fault


@contextlib.contextmanager
def cut_connections(alias: str, *, times: int = 1, matching: str = "") -> Iterator[Fault]:
    """Cut the connection of an alias before its next `times` statements that hold the text `matching`.

    What follows is no play: the loss is met as any other, and the alias connects again.
    """
    with _in_force(alias, "cut", None, times, matching) as fault:
        yield fault


@contextlib.contextmanager
def _in_force(alias: str, moment: Moment, error: Error | None, times: int, matching: str) -> Iterator[Fault]:
    plugins = given_options(connections[alias].settings_dict).get("plugins", "")
    if "dev" not in [name.strip() for name in str(plugins).split(",")]:
        raise ImproperlyConfigured(f"Name 'dev' in OPTIONS['plugins'] of DATABASES[{alias!r}], in the tests' settings.")
    fault = Fault(alias, moment, error, times, matching)
    put_in_force(fault)
    try:
        yield fault
    finally:
        withdraw(fault)
