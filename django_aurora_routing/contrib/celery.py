"""Celery tasks as units of work that read what the code that queued them has written. Call `install()` once.

# beside app = Celery(...)
from django_aurora_routing.contrib import celery as aurora_celery

aurora_celery.install()
"""

from __future__ import annotations

from typing import Any

from celery import signals

from ..routing.jobs import begin_job, end_job
from ..routing.tokens import load_token, token

HEADER = "aurora_read_after"


def install() -> None:
    """Connect to Celery's signals, for all Celery apps of the process. To be called where tasks are queued and run.

    Each task then has a scope of its own. What the code that queued it has written up to then, in a transaction that
    is still open too, the task reads from the writer, as does whoever it queues tasks for, until PIN_SECONDS
    are over or PIN_POLICY says otherwise. Eager tasks belong to the scope of their caller.
    """
    signals.before_task_publish.connect(_on_publish, weak=False, dispatch_uid=HEADER)
    signals.task_prerun.connect(_on_start, weak=False, dispatch_uid=HEADER)
    signals.task_postrun.connect(_on_end, weak=False, dispatch_uid=HEADER)


def _on_publish(headers: dict[str, Any], **_: Any) -> None:
    if text := token():
        headers[HEADER] = text


def _on_start(task: Any, **_: Any) -> None:
    if not task.request.is_eager:
        begin_job(task.name, load_token(task.request.get(HEADER)))


def _on_end(task: Any, **_: Any) -> None:
    if not task.request.is_eager:
        end_job()
