"""Plugins that are called: the protocol, and our own that use it. What else a name switches on is in `core.plugins`."""

from __future__ import annotations

from ..core.timings import Timing
from .base import Plugin
from .stopwatch import reset_timings, timings

__all__ = ["Plugin", "Timing", "reset_timings", "timings"]
