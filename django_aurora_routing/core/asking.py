"""Whom the topology monitor asks: `monitoring_connection_priority`."""

from __future__ import annotations

from collections.abc import Sequence

from .endpoints import Address
from .option_values import Given, nearest

WRITER, READER, EITHER = "strict_writer", "strict_reader", "writer_or_reader"
DEFAULT_PRIORITY = (READER, WRITER)
"""A reader first: a connection to one outlives the writer, and every instance knows of all."""


def read_priority(given: Given) -> tuple[str, ...]:
    """`strict-writer`, `strict-reader` and `writer-or-reader`, with commas; `_` may stand for `-`."""
    text = given.text("monitoring_connection_priority")
    if text is None:
        return DEFAULT_PRIORITY
    names = tuple(name.strip().lower().replace("-", "_") for name in text.split(",") if name.strip())
    for name in names:
        if name not in (WRITER, READER, EITHER):
            hint = nearest(name, (WRITER, READER, EITHER)) or "Use strict-writer, strict-reader, writer-or-reader."
            given.say("OPTIONS['monitoring_connection_priority']", f"{name!r} is not a choice.", hint)
    return names or DEFAULT_PRIORITY


def in_order(priority: Sequence[str], readers: Sequence[Address], writer: Address | None) -> list[Address]:
    """Those that are asked, one after the other until one has answered; `readers` come as they are given."""
    writers = [] if writer is None else [writer]
    groups = {WRITER: writers, READER: [*readers], EITHER: [*writers, *readers]}
    return list(dict.fromkeys(address for name in priority for address in groups[name]))
