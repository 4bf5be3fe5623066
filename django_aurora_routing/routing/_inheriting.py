"""A context variable for a Python whose new threads inherit the context; does what ContextVar does elsewhere."""

from __future__ import annotations

from typing import Any

from asgiref.local import Local


class LocalVariable:
    """Follows tasks and sync_to_async as a ContextVar does, and is empty in a new thread: asgiref's Local is both."""

    def __init__(self) -> None:
        self._local = Local()

    def get(self) -> Any:
        return getattr(self._local, "frame", None)

    def set(self, frame: Any) -> None:
        self._local.frame = frame
