"""Owns the pytest fixtures for projects; loaded by pytest for everybody, so it imports nothing until a test needs it.

Its entry point is named like this module: listing that in `pytest_plugins` as well does no harm.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .readers import StaleReaders


@pytest.fixture(autouse=True)
def _aurora_routing_scope(request: pytest.FixtureRequest) -> Iterator[None]:
    """A scope for each test, where the app is installed (or else one of its routers)."""
    if "django_aurora_routing.routing.scopes" not in sys.modules:
        yield
        return
    from .cases import own_scope

    with own_scope(request.node.nodeid):
        yield


@pytest.fixture
def mirror_readers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Readers show what the writer has, its open transaction too: for tests in pytest-django's `db`."""
    _set_up_databases(request)
    from .readers import mirror_readers

    with mirror_readers():
        yield


@pytest.fixture
def stale_readers(request: pytest.FixtureRequest) -> Iterator[StaleReaders]:
    """Readers show what the writer has now, and no more until `stale_readers.catch_up()`."""
    _set_up_databases(request)
    from .readers import stale_readers

    with stale_readers() as readers:
        yield readers


def _set_up_databases(request: pytest.FixtureRequest) -> None:
    """First of all, in whichever order the test names its fixtures."""
    for name in ("db", "transactional_db", "live_server"):
        if name in request.fixturenames:
            request.getfixturevalue(name)


@pytest.fixture
def capture_routes() -> Callable[..., Any]:
    """`with capture_routes() as routes: ...`: every query with its alias, model and reason."""
    from .routes import capture_routes

    return capture_routes


@pytest.fixture
def django_assert_routed_to() -> Callable[..., Any]:
    """`with django_assert_routed_to("reader"): ...`"""
    from .routes import assert_routed_to

    return assert_routed_to


@pytest.fixture
def django_assert_num_queries_by_alias() -> Callable[..., Any]:
    """`with django_assert_num_queries_by_alias({"default": 1, "reader": 2}): ...`"""
    from .routes import assert_num_queries_by_alias

    return assert_num_queries_by_alias


@pytest.fixture
def django_assert_no_writes() -> Callable[..., Any]:
    """`with django_assert_no_writes(): ...`"""
    from .routes import assert_no_writes

    return assert_no_writes
