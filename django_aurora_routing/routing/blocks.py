"""What every block can, and the blocks that name no database: in_writer, in_reader, prevent_writes.

A `with` inside a generator is seen by whoever iterates over it while it is suspended: Python has one context
for both. A decorated generator is not.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, TypeVar, cast

from django.db.models import QuerySet

from ..conf import is_seconds
from .clusters import cluster_named
from .context import NO_RULES, Frame, Rules, current, remove, restore
from .decision import ReadsFrom
from .decorated import decorated
from .errors import RoutingLocked
from .scopes import opened

F = TypeVar("F", bound=Callable[..., Any])
_B = TypeVar("_B", bound="Block")


class Block:
    """What every block can: be entered, again and by many threads and tasks at once, and decorate."""

    __slots__ = ()
    database: str | None

    def framed(self, outer: Frame | None) -> Frame:
        """See `context.Owner`."""
        raise NotImplementedError

    def __enter__(self: _B) -> _B:
        restore(self.framed(current() or opened()))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        frame = current()
        if frame is not None and frame[4] is self:  # nearly always, so without a call
            restore(frame[3])
        else:
            remove(self)

    async def __aenter__(self: _B) -> _B:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    def __call__(self, function: F) -> F:
        """`function`, with every call of it inside this block; for generators every step."""
        if not callable(function):
            raise TypeError(f"{type(self).__name__}() decorates functions, not {type(function).__name__}.")
        return cast(F, decorated(self, function))

    def kept(self, result: Any) -> Any:
        """What a decorated function returns, so that it means after the block what it meant inside.

        A queryset that nobody has evaluated stays lazy, and stays on the database that it would have been read from.
        """
        if isinstance(result, QuerySet) and result._result_cache is None:
            return result.using(result.db)
        return result

    def hold(self) -> None:
        """Keep what the block needs, without routing anything to it."""

    def let_go(self) -> None:
        """The end of a `hold`."""

    async def alet_go(self) -> None:
        """The end of a `hold`, in asynchronous code."""

    def unlocked(self, outer: Frame, database: str | None) -> Rules:
        """The rules in force. Raises RoutingLocked where they forbid this block."""
        rules = outer[6] or NO_RULES
        if rules.locked_by is not None and getattr(rules.locked_by, "database", None) != database:
            raise RoutingLocked(self, rules.locked_by)
        return rules


class _InRole(Block):
    """Route reads of one cluster by role. Blocks around it lose their say; those inside it keep theirs."""

    __slots__ = ("_wanted", "cluster")
    database = None
    role: ClassVar[str]

    def __init__(self, cluster: str, max_lag: float | None) -> None:
        self.cluster = cluster_named(cluster).name
        self._wanted = (self.cluster, ReadsFrom(self.role, max_lag))

    def __repr__(self) -> str:
        return f"in_{self.role}({self.cluster!r})"

    def framed(self, outer: Frame | None) -> Frame:
        assert outer is not None
        rules = self.unlocked(outer, None)
        writes = None if self.role == "writer" else outer[1]
        return (None, writes, {}, outer, self, outer[5], rules._replace(reads=(self._wanted, *rules.reads)))


class in_writer(_InRole):
    """Read from the cluster's writer inside the block: `with in_writer(): ...`, `@in_writer("orders")`.

    Needs `django_aurora_routing.routers.ReadWriteRouter` in DATABASE_ROUTERS. Raises ImproperlyConfigured for a
    cluster that does not exist.
    """

    __slots__ = ()
    role = "writer"

    def __init__(self, cluster: str = "default") -> None:
        super().__init__(cluster, None)


class in_reader(_InRole):
    """Read from one of the cluster's readers inside the block, whatever was written before or is in a transaction.

    `max_lag`, in seconds, passes over readers that are not known to be as near to the writer as that; when none
    is left, ON_NO_READER decides. Writes are not affected. Needs the ReadWriteRouter, as `in_writer` does.
    """

    __slots__ = ()
    role = "reader"

    def __init__(self, cluster: str = "default", *, max_lag: float | None = None) -> None:
        if max_lag is not None and not is_seconds(max_lag):
            raise ValueError(f"in_reader(): max_lag must be a number of seconds, 0 or more, not {max_lag!r}.")
        super().__init__(cluster, max_lag)


class prevent_writes(Block):
    """Refuse every statement that writes, on every database, inside the block: `with prevent_writes(): ...`.

    By WritePrevented, before the statement is sent; what cannot be told from a write is refused too. On our own
    backends the server's session is read-only as well.
    """

    __slots__ = ()
    database = None

    def __repr__(self) -> str:
        return "prevent_writes()"

    def kept(self, result: Any) -> Any:
        return result

    def framed(self, outer: Frame | None) -> Frame:
        assert outer is not None
        rules = (outer[6] or NO_RULES)._replace(prevented_by=self)
        return (outer[0], outer[1], outer[2], outer, self, outer[5], rules)
