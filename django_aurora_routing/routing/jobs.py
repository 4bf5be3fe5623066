"""The scope of a job, opened and closed by the signals of the queue that runs it."""

from __future__ import annotations

from collections.abc import Mapping

from .context import current, owners, remove, restore
from .scopes import Scope, opened


class _Job(Scope):
    """The scope of a job."""


def begin_job(name: str, commits: Mapping[str, float]) -> None:
    """Open a scope that reads what `commits` tells, until `end_job()`."""
    end_job()  # one whose end nobody told
    job = _Job(name)
    restore(job.framed(current() or opened()))
    job.adopt(commits)


def end_job() -> None:
    """Close the scope of the job, if there is one."""
    for owner in list(owners()):
        if isinstance(owner, _Job):
            remove(owner)
