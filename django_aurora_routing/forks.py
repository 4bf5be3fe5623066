"""What is to happen in a forked child, before anything else; and what a thread does that a fork has carried along."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

_callbacks: list[Callable[[], object]] = []
_process = os.getpid()


def in_each_child(callback: Callable[[], object]) -> None:
    """Have `callback` called in each child that this process and its children fork, in the order of these calls."""
    _callbacks.append(callback)


def rest_if_carried_along(process: int) -> None:
    """Return at once in `process`, in which the calling thread was started, and not at all in a child of it.

    With gevent a thread is a greenlet, and the child has a copy of it besides the one that it starts itself. It is not
    to do the work twice, nor to end: `threading` has forgotten it, and would print a KeyError.
    """
    while os.getpid() != process:
        time.sleep(3600)


def _begin_child() -> None:
    """Call all, whatever one raises: what is left undone is a lock that is held for ever. The first error is told."""
    global _process
    _process = os.getpid()
    error: BaseException | None = None
    for callback in _callbacks:
        try:
            callback()
        except BaseException as exc:  # noqa: BLE001 - raised below
            error = error or exc
    if error is not None:
        raise error  # Python prints it, and the child goes on


def _begin_worker_of_uwsgi() -> None:
    """Its hook is called in a worker that is its first process, too, and after Python's, where both are called."""
    if os.getpid() != _process:
        _begin_child()


def _be_told_by_uwsgi() -> None:
    """uWSGI forks its workers without Python's knowing, unless `py-call-osafterfork` is set. It has a hook of its own.

    There is one. It is shared by `uwsgidecorators`, whose import replaces it, and others that an application has set.
    """
    import uwsgi

    names = ("post_fork_hook", "spooler", "mule_msg_hook")
    own = {name: getattr(uwsgi, name) for name in names if hasattr(uwsgi, name)}
    is_there = "uwsgidecorators" in sys.modules
    try:
        from uwsgidecorators import postfork
    except Exception:  # noqa: BLE001 - not installed, or there is no master process, so that nobody else can import it
        _share_hook(uwsgi, own.get("post_fork_hook"))
        return
    postfork(_begin_worker_of_uwsgi)
    if not is_there:
        if (before := own.pop("post_fork_hook", None)) is not None:
            postfork(before)
        for name, value in own.items():
            setattr(uwsgi, name, value)


def _share_hook(uwsgi: Any, before: Callable[[], object] | None) -> None:
    def hook() -> None:
        try:
            _begin_worker_of_uwsgi()
        finally:
            if before is not None:
                before()

    uwsgi.post_fork_hook = hook


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_child)
if "uwsgi" in sys.modules:
    _be_told_by_uwsgi()
