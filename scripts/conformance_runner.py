"""Django's test runner, but for one more thing: it leaves what each test came to in a JSON file for conformance.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import TransactionTestCase
from django.test.runner import DiscoverRunner
from django.test.utils import iter_test_cases

RESULT_FILE = "CONFORMANCE_RESULT"
"""The environment variable that names the file."""


class Runner(DiscoverRunner):
    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        outcomes: dict[str, str] = {}
        for kind, tests in (
            ("skipped", [test for test, _ in result.skipped]),
            ("unexpected success", result.unexpectedSuccesses),
            ("failure", [test for test, _ in result.failures]),
            ("error", [test for test, _ in result.errors]),
        ):
            outcomes.update((_name_of(test), kind) for test in tests)
        record = {"ran": result.testsRun, "outcomes": outcomes}
        Path(os.environ[RESULT_FILE]).write_text(json.dumps(record))
        return int(super().suite_result(suite, result, **kwargs))


class RoutingRunner(Runner):
    """With our app, which Django's runtests.py would not install whatever the settings say."""

    def setup_test_environment(self, **kwargs: Any) -> None:
        super().setup_test_environment(**kwargs)
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django_aurora_routing"]
        apps.set_installed_apps(settings.INSTALLED_APPS)

    def run_suite(self, suite: Any, **kwargs: Any) -> Any:
        """As RoutingTestMixin would have it: Django's own mirrors do not show what a TestCase has written (#23718)."""
        from django_aurora_routing.testing import mirror_readers

        if READER not in connections:
            return super().run_suite(suite, **kwargs)
        for test in iter_test_cases(suite):
            named = getattr(type(test), "databases", ())
            if DEFAULT_DB_ALIAS in named and named != "__all__":
                type(test).databases = {*named, READER}
        with mirror_readers(), mock.patch.object(TransactionTestCase, "_databases_names", _without_the_reader):
            return super().run_suite(suite, **kwargs)


READER = "reader"
"""An alias of conformance.ROUTING_SETTINGS, which no test names. What its reads go to is not a test's business."""
_databases_names = TransactionTestCase._databases_names.__func__


@classmethod
def _without_the_reader(cls: Any, include_mirrors: bool = True) -> list[str]:
    return [alias for alias in _databases_names(cls, include_mirrors) if alias != READER]


def _name_of(test: Any) -> str:
    """The test's dotted name; a subtest counts as the test that it is in."""
    return str(getattr(test, "test_case", test).id())
