"""Celery tasks in a real worker, a thread of this process, on SQLite files that never replicate."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

celery = pytest.importorskip("celery")

from celery import signals  # noqa: E402
from celery.contrib.testing.worker import start_worker  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.test import override_settings  # noqa: E402

from django_aurora_routing.contrib import celery as contrib  # noqa: E402
from django_aurora_routing.routing.jobs import _Job  # noqa: E402
from django_aurora_routing.routing.scopes import current_scope, scope  # noqa: E402
from tests.routing.conftest import CLUSTERS, both_routers, databases, names  # noqa: E402, F401
from tests.routing.models import Author  # noqa: E402

STALE = (["reader1"], ["reader2"])


def closing(function: Any) -> Any:
    """With no connection left to the files of this test in the worker's thread."""

    def run(*args: Any) -> Any:
        try:
            return function(*args)
        finally:
            if threading.current_thread() is not threading.main_thread():
                for wrapper in connections.all(initialized_only=True):
                    wrapper.close()
                    del connections[wrapper.alias]

    return run


def write_and_read() -> list[str]:
    Author.objects.create(name="of the task")
    return names()


def write_and_fail() -> None:
    Author.objects.create(name="of the task")
    raise RuntimeError("after the write")


def retried(task: Any) -> list[str]:
    if not task.request.retries:
        Author.objects.create(name="of the first try")
        raise task.retry(countdown=0)
    return names()


class Tasks:
    """Tasks of the app, and what they do."""

    def __init__(self, app: Any) -> None:
        self.read = app.task(closing(names), name="read")
        self.write_and_read = app.task(closing(write_and_read), name="write_and_read")
        self.fail = app.task(closing(write_and_fail), name="fail")
        self.retried = app.task(closing(retried), bind=True, name="retried", max_retries=1)
        self.which = app.task(closing(lambda: (current_scope().name, type(current_scope()) is _Job)), name="which")
        self.chained = app.task(closing(lambda: self.read.delay().id), name="chained")


def leave_logging_alone(**_: Any) -> None:
    """Celery sets up the root logger, for the tests of others too, unless somebody is connected to its signal."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Tasks]:
    contrib.install()
    contrib.install()  # twice is once
    app = celery.Celery("tests", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    tasks = Tasks(app)
    signals.setup_logging.connect(leave_logging_alone)
    with start_worker(app, pool="solo", perform_ping_check=False):
        yield tasks
    signals.setup_logging.disconnect(leave_logging_alone)


@pytest.fixture
def tasks(worker: Tasks, both_routers: None) -> Tasks:  # noqa: F811
    return worker


def result(queued: Any) -> Any:
    return queued.get(timeout=20, interval=0.02)


def test_trap_39_a_task_reads_what_the_code_that_queued_it_has_written(tasks: Tasks) -> None:
    assert result(tasks.read.delay()) in STALE
    Author.objects.create(name="new")
    assert result(tasks.read.delay()) == ["default", "new"]
    with scope("another"):
        assert result(tasks.read.delay()) in STALE


def test_queued_on_commit_and_inside_the_transaction(tasks: Tasks) -> None:
    queued = []
    with transaction.atomic():
        Author.objects.create(name="new")
        transaction.on_commit(lambda: queued.append(tasks.read.delay()))
    assert result(queued[0]) == ["default", "new"]
    with scope("another"):
        with transaction.atomic():
            Author.objects.create(name="later")
            queued.append(tasks.read.apply_async(countdown=0.2))
        assert result(queued[1]) == ["default", "new", "later"]


def test_trap_24_a_task_leaves_nothing_to_the_next_one(tasks: Tasks) -> None:
    assert result(tasks.write_and_read.delay()) == ["default", "of the task"]
    assert result(tasks.read.delay()) in STALE
    with pytest.raises(RuntimeError, match="after the write"):
        result(tasks.fail.delay())
    assert result(tasks.read.delay()) in STALE
    assert result(tasks.which.delay()) == ["which", True]


def test_a_retry_reads_what_the_first_try_has_written(tasks: Tasks) -> None:
    assert result(tasks.retried.delay()) == ["default", "of the first try"]


def test_a_task_hands_on_what_it_was_given(tasks: Tasks) -> None:
    Author.objects.create(name="new")
    queued = result(tasks.chained.delay())
    assert result(tasks.read.AsyncResult(queued)) == ["default", "new"]


def test_the_pin_of_a_task_ends(tasks: Tasks) -> None:
    with override_settings(AURORA_ROUTING={**CLUSTERS, "PIN_SECONDS": 0.2}):
        Author.objects.create(name="new")
        queued = tasks.read.apply_async(countdown=0.5)
        time.sleep(0.3)
        assert result(queued) in STALE


def test_an_eager_task_belongs_to_its_caller(tasks: Tasks) -> None:
    with scope("caller"):
        assert tasks.which.apply().get() == ("caller", False)
        assert tasks.write_and_read.apply().get() == ["default", "of the task"]
        assert names() == ["default", "of the task"]


def test_what_has_written_nothing_adds_nothing_to_the_message() -> None:
    headers: dict[str, Any] = {}
    with scope():
        contrib._on_publish(headers=headers)
    assert headers == {}
