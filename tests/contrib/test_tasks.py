"""django.tasks with Django's ImmediateBackend and with a backend that runs tasks in threads."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import django
import pytest

if django.VERSION < (6, 0):
    pytest.skip("django.tasks came with Django 6.0", allow_module_level=True)

from django.db import connections
from django.tasks import TaskContext, TaskResult, TaskResultStatus, default_task_backend, task
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.test import override_settings
from django.utils import timezone
from django.utils.crypto import get_random_string

from django_aurora_routing.contrib import tasks as contrib
from django_aurora_routing.routing.scopes import current_scope, scope
from tests.routing.conftest import CLUSTERS, both_routers, databases, names  # noqa: F401
from tests.routing.models import Author

STALE = (["reader1"], ["reader2"])


class Threads(BaseTaskBackend):
    """Runs each task when `run()` is called, in one thread that all share, as a worker does."""

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.queue: list[Any] = []

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        now = timezone.now()
        result = TaskResult(
            task=task,
            id=get_random_string(32),
            status=TaskResultStatus.READY,
            enqueued_at=now,
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        self.queue.append(result)
        task_enqueued.send(type(self), task_result=result)
        return result

    def run(self, age: float = 0) -> list[Any]:
        """What the queued tasks return, or the name of the exception."""
        answers: list[Any] = []

        def work() -> None:
            for result in self.queue:
                object.__setattr__(result, "enqueued_at", result.enqueued_at - timedelta(seconds=age))
                object.__setattr__(result, "status", TaskResultStatus.RUNNING)
                task_started.send(type(self), task_result=result)
                context = (TaskContext(task_result=result),) if result.task.takes_context else ()
                try:
                    answers.append(result.task.call(*context, *result.args, **result.kwargs))
                    object.__setattr__(result, "status", TaskResultStatus.SUCCESSFUL)
                except RuntimeError as error:
                    answers.append(type(error).__name__)
                    object.__setattr__(result, "status", TaskResultStatus.FAILED)
                task_finished.send(type(self), task_result=result)
                answers.append(current_scope().name)
            connections.close_all()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        self.queue.clear()
        return answers


@pytest.fixture(autouse=True)
def installed(both_routers: None) -> None:  # noqa: F811
    contrib.install()


@task
def read() -> list[str]:
    return names()


@task
def write_and_read() -> list[str]:
    Author.objects.create(name="of the task")
    return names()


@task
def fail() -> None:
    Author.objects.create(name="of the task")
    raise RuntimeError("after the write")


@task
def which() -> str:
    return current_scope().name


@task
async def aread() -> list[str]:
    return [name async for name in Author.objects.order_by("pk").values_list("name", flat=True)]


def in_threads() -> Any:
    return override_settings(TASKS={"default": {"BACKEND": f"{__name__}.Threads"}})


def run(**how: Any) -> list[Any]:
    backend: Any = default_task_backend
    return list(backend.run(**how))


def test_trap_39_a_task_reads_what_was_written_before_it_was_queued() -> None:
    with in_threads():
        Author.objects.create(name="new")
        read.enqueue()
        aread.enqueue()
        assert run() == [["default", "new"], "", ["default", "new"], ""]


def test_a_task_that_starts_late_reads_from_a_reader() -> None:
    with in_threads(), override_settings(AURORA_ROUTING={**CLUSTERS, "PIN_SECONDS": 30}):
        Author.objects.create(name="new")
        read.enqueue()
        assert run(age=31)[0] in STALE


def test_trap_24_a_task_leaves_nothing_to_the_next_one() -> None:
    with in_threads():
        write_and_read.enqueue()
        fail.enqueue()
        read.enqueue()
        answers = run(age=60)
    assert answers[:4] == [["default", "of the task"], "", "RuntimeError", ""]
    assert answers[4] in STALE


def test_a_task_has_a_scope_of_its_own() -> None:
    with in_threads():
        which.enqueue()
        assert run() == [f"{__name__}.which", ""]


def test_an_immediate_task_belongs_to_its_caller() -> None:
    settings = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    with override_settings(TASKS=settings), scope("caller"):
        assert which.enqueue().return_value == "caller"
        assert read.enqueue().return_value in STALE
        assert write_and_read.enqueue().return_value == ["default", "of the task"]
        assert names() == ["default", "of the task"]
        fail.enqueue()
        assert current_scope().name == "caller"
