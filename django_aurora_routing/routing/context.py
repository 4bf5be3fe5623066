"""The routing opinions in force here and now: one ContextVar, a chain of immutable frames; knows no Django.

A frame says where reads and writes go while it is the innermost one, None meaning "no opinion". Frames are
plain tuples because one is made on every `in_database` and read on every query. They are removed by their
owner's identity and never by `Token.reset`, which fails when the two halves of a block run in different
contexts (sync_to_async, ASGI middleware).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol, TypeAlias


class Block(Protocol):
    """Who owns a frame: the database it is about, and what of it the block routes there."""

    database: str
    read: bool
    write: bool


# (reads go to, writes go to, the frame around this one, its owner)
Frame: TypeAlias = "tuple[str | None, str | None, Frame | None, Block]"

_innermost: ContextVar[Frame | None] = ContextVar("django_aurora_routing.innermost_frame", default=None)

current = _innermost.get  # the bound C methods, not functions around them: this is read on every query
restore = _innermost.set


def framed(block: Block, outer: Frame | None) -> Frame:
    """The frame of `block` inside `outer`, whose opinions hold wherever the block has none."""
    database = block.database
    if outer is None:
        return (database if block.read else None, database if block.write else None, None, block)
    return (database if block.read else outer[0], database if block.write else outer[1], outer, block)


def remove(block: Block) -> None:
    """Take away the innermost frame that `block` owns, wherever in the chain it is.

    Does nothing where there is none: the block was entered in another context, which nobody can reach from
    here.
    """
    frame = current()
    if frame is not None and frame[3] is block:
        restore(frame[2])
        return
    inner: list[Block] = []
    while frame is not None:
        if frame[3] is block:
            rebuilt = frame[2]
            for owner in reversed(inner):
                rebuilt = framed(owner, rebuilt)
            restore(rebuilt)
            return
        inner.append(frame[3])
        frame = frame[2]


def blocks() -> Iterator[Block]:
    """The blocks in force, innermost first."""
    frame = current()
    while frame is not None:
        yield frame[3]
        frame = frame[2]
