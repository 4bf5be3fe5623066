"""What each test gets, pytest's and unittest's: a scope of its own; and the mixin for Django's test cases."""

from __future__ import annotations

import unittest
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from django.db.models import Model

from ..routing import readers
from ..routing.clusters import clusters
from ..routing.scopes import Scope, scope
from .contexts import Context
from .readers import mirror_readers, writers_of
from .routes import Routes, assert_no_writes, assert_num_queries_by_alias, assert_routed_to, capture_routes


@contextmanager
def own_scope(name: str = "test") -> Iterator[Scope]:
    """A unit of work that knows nothing of those before: what they have written, and which readers failed them."""
    readers.forget_failures()
    try:
        with scope(name) as entered:
            yield entered
    finally:
        readers.forget_failures()


if TYPE_CHECKING:
    from django.test import TransactionTestCase as _Base
else:
    _Base = object


class RoutingTestMixin(_Base):
    """Before Django's TestCase or TransactionTestCase: `class OrderTests(RoutingTestMixin, TestCase)`.

    Every test has a scope of its own, and readers are mirrors of the writer (see `mirror_readers`).
    """

    mirror_readers: ClassVar[bool] = True

    @classmethod
    def setUpClass(cls) -> None:
        if cls.mirror_readers:
            mirrors = mirror_readers()
            mirrors.__enter__()
            cls.addClassCleanup(mirrors.__exit__, None, None, None)
            named: Any = cls.databases
            if named != "__all__":  # a mirror is open to a test to which its writer is
                cls.databases = {*named, *(alias for alias, writer in writers_of(()).items() if writer in named)}
        super().setUpClass()

    @classmethod
    def _databases_names(cls, include_mirrors: bool = True) -> list[str]:
        """Those that Django opens a transaction on, which a mirror is in already."""
        names: list[str] = super()._databases_names(include_mirrors)  # type: ignore[misc]
        return [alias for alias in names if not (cls.mirror_readers and alias in clusters().readers)]

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        with own_scope(self.id()):
            return super().run(result)

    def captureRoutes(self) -> Context[Routes]:
        return capture_routes()

    def assertRoutedTo(self, alias: str, model: type[Model] | str | None = None) -> Context[Routes]:
        return assert_routed_to(alias, model)

    def assertNumQueriesByAlias(self, expected: Mapping[str, int]) -> Context[Routes]:
        return assert_num_queries_by_alias(expected)

    def assertNoWrites(self) -> Context[Routes]:
        return assert_no_writes()
