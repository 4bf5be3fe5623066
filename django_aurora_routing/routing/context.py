"""The routing opinions in force here and now: one ContextVar, a chain of immutable frames; knows no Django.

A frame says where reads and writes go while it is the innermost one, None meaning "no opinion". Frames are
plain tuples because one is made on every `in_database` and read on every query. They are removed by their
owner's identity and never by `Token.reset`, which fails when the two halves of a block run in different
contexts (sync_to_async, ASGI middleware).

A frame is (reads, writes, memo, outer, owner, scope, rules):

* reads, writes: an alias, None, or a `Partial` where it depends on the model;
* memo: what the scope has found out about plain reads, {model: (the reader to read from, for which cluster was
  asked, the wrappers of the thread that asked, and of these the reader's; its writer)};
* outer: the frame around this one; owner: who made it and will remove it;
* scope: the unit of work that this code belongs to; rules: what is seldom asked, or None.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, TypeAlias

decisions = logging.getLogger(f"{__package__}.decision")
"""At DEBUG it has a line for every decision. Scopes and blocks ask for the level as they begin, queries do not."""


class Owner(Protocol):
    """What makes frames."""

    @property
    def database(self) -> str | None:
        """The alias that it is about, if any."""

    def framed(self, outer: Frame | None) -> Frame:
        """The owner's frame inside `outer`, whose opinions hold wherever the owner has none.

        `outer` is None for a scope alone: every chain begins with one.
        """
        ...


class Partial(NamedTuple):
    """An alias for some models; for the others what the frames around it say."""

    includes: Callable[[Any], bool]
    alias: str
    otherwise: Opinion


class Rules(NamedTuple):
    """What a frame says beyond where queries go. `reads` are preferences by cluster, the innermost first."""

    prevented_by: object | None = None
    locked_by: object | None = None
    reads: tuple[tuple[str, Any], ...] = ()
    is_logged: bool = False


NO_RULES = Rules()

Opinion: TypeAlias = "str | Partial | None"
Memo: TypeAlias = "dict[Any, tuple[str, str, Any, Any, str]]"
Frame: TypeAlias = "tuple[Opinion, Opinion, Memo, Frame | None, Owner, Any, Rules | None]"


def _variable() -> Any:
    """Something with the `get` and `set` of a ContextVar, and empty in a new thread."""
    if getattr(sys.flags, "thread_inherit_context", 0):
        # Free-threaded builds of Python 3.14 hand a thread the context of the code that starts it.
        from ._inheriting import LocalVariable

        return LocalVariable()
    return ContextVar("django_aurora_routing.innermost_frame", default=None)


_innermost = _variable()
# The bound C methods, not functions around them: this is read on every query.
current: Callable[[], Frame | None] = _innermost.get
restore: Callable[[Frame | None], Any] = _innermost.set


def alias_for(opinion: Opinion, model: Any) -> str | None:
    """The alias that a frame's `reads` or `writes` means for a model."""
    while opinion is not None and opinion.__class__ is not str:
        assert isinstance(opinion, Partial)
        opinion = opinion.alias if opinion.includes(model) else opinion.otherwise
    return opinion


def remove(owner: Owner) -> None:
    """Take away the innermost frame that `owner` made, wherever in the chain it is.

    Does nothing where there is none: it was entered in another context, which nobody can reach from here.
    """
    frame = current()
    inner: list[Owner] = []
    while frame is not None:
        if frame[4] is owner:
            rebuilt = frame[3]
            for other in reversed(inner):
                rebuilt = other.framed(rebuilt)
            restore(rebuilt)
            return
        inner.append(frame[4])
        frame = frame[3]


def owners() -> Iterator[Owner]:
    """The owners of the frames in force, innermost first."""
    frame = current()
    while frame is not None:
        yield frame[4]
        frame = frame[3]
