"""Tasks of django.tasks (Django 6.0 and later) as units of work that read what was written before they were queued.

Their API has no place for a token, but it knows when a task was queued, and whatever the code that queued it has
written was written before. So a task that starts soon after reads from the writers, whoever queued it.
"""

from __future__ import annotations

from typing import Any

from django.tasks.backends.immediate import ImmediateBackend
from django.tasks.signals import task_finished, task_started

from ..routing.clusters import clusters
from ..routing.jobs import begin_job, end_job


def install() -> None:
    """Connect to the signals of django.tasks, for all its backends. To be called where tasks are run.

    Each task then has a scope of its own, which reads from the writers until PIN_SECONDS after the task was
    queued, or until the readers have what was committed by then, with PIN_POLICY "lag". Tasks that
    ImmediateBackend runs at once belong to the scope of their caller.
    """
    task_started.connect(_on_start, weak=False, dispatch_uid=__name__)
    task_finished.connect(_on_end, weak=False, dispatch_uid=__name__)


def _on_start(sender: type[Any], task_result: Any, **_: Any) -> None:
    if not issubclass(sender, ImmediateBackend):
        queued_at = task_result.enqueued_at
        commits = {} if queued_at is None else dict.fromkeys(clusters().by_name, queued_at.timestamp())
        begin_job(task_result.task.module_path, commits)


def _on_end(sender: type[Any], **_: Any) -> None:
    if not issubclass(sender, ImmediateBackend):
        end_job()
