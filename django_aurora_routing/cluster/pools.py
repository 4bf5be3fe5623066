"""Sessions that an alias keeps for whoever needs one next, in a QueuePool of SQLAlchemy's for each instance.

Owns who has which session and which may be handed out again. Opens none, and does not say where one is wanted.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..core.endpoints import Address
from ..core.pooling import PoolLimits
from ..drivers.base import Connection, Driver
from ..errors import PoolExhaustedError
from ..forks import in_each_child

if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection, QueuePool

    from .cluster import Cluster

logger = logging.getLogger(__name__)

Ask = Callable[[Connection], bool]
"""Asks a session whether it is still what is wanted. May raise the driver's errors."""

# What a reset leaves as it is. The second is for servers that know no roles (MySQL 5.7).
_LEFTOVERS = ("SELECT DATABASE(), CURRENT_ROLE()", "SELECT DATABASE()")
_NO_SUCH_FUNCTION = 1305


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What sessions of a pool have in common; two aliases, or an alias whose settings have changed, share none.

    `limit` is how long a session may take to answer, in seconds. `setup` is what it may run when it is opened.
    """

    alias: str
    driver: Driver
    cluster: Cluster | None
    params: Mapping[str, Any] = field(repr=False)
    limits: PoolLimits
    limit: float
    is_asked: bool
    setup: str = ""


@dataclass(frozen=True, slots=True)
class _Idle:
    """A session that nobody has, as new."""

    connection: Connection = field(repr=False)
    address: Address
    instance: Address
    opened_at: float
    stamp: Hashable
    leftovers: Sequence[Sequence[Any]]


class _Place:
    """What a QueuePool takes for a connection: a place that one session at a time may have, in use or idle."""

    __slots__ = ("_pools",)

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def close(self) -> None:
        """QueuePool calls this when it has no use for the place any more."""
        self._pools.end([self])


class Pools:
    """The pools of one alias. All may be called by any thread."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.is_closed = False
        self._queues: dict[Address, QueuePool] = {}
        self._idle: dict[_Place, _Idle] = {}
        self._in_use: weakref.WeakSet[Seat] = weakref.WeakSet()
        self._failures: Counter[Address] = Counter()
        self._lock = threading.RLock()  # for the garbage collector, which may leave a place at any moment
        _all.add(self)

    def __repr__(self) -> str:
        return f"<Pools of {self.settings.alias!r}: {len(self._in_use)} in use, {len(self._idle)} idle>"

    def take(self, address: Address, ask: Ask) -> Seat:
        """A place at this address, with a session in it if one is idle; else the caller opens one for it.

        A session that has ended, that is too old, or that has been idle while the cluster has changed or its
        instance has failed somebody, is closed and never handed out. With CONN_HEALTH_CHECKS, `ask` has to agree.
        Raises PoolExhaustedError when no place has become free within the pool's timeout.
        """
        from sqlalchemy.exc import TimeoutError as NoneIsFree

        try:
            proxy = self._queue(address).connect()
        except NoneIsFree:
            raise PoolExhaustedError(self._exhausted(address)) from None
        seat = Seat(self, address, proxy)
        with self._lock:
            self._in_use.add(seat)
            idle = self._idle.pop(seat.place, None)
        if idle is not None:
            if self._is_fit(idle) and self._agrees(idle, ask):
                seat.connection, seat.idle, seat.was_kept = idle.connection, idle, True
            else:
                self.settings.driver.close(idle.connection)
        self.end_unfit()
        return seat

    def stamp(self, address: Address) -> Hashable:
        """Equal for as long as there is no doubt about idle sessions at this address.

        Where it is a name for one instance or another, any of them may be the one that has failed.
        """
        cluster, own = self.settings.cluster, self._failures[address]
        if cluster is None:
            return own
        topology, failures = cluster.view.topology, cluster.failures
        failed = failures[address] if topology.at(address) is not None else sum(tuple(failures.values()))
        return topology.generation, failed, own

    def distrust(self, address: Address) -> None:
        """A session there has ended by itself: those that are idle may have, too, without a sign."""
        with self._lock:
            self._failures[address] += 1
        self.end_unfit()

    def end_unfit(self) -> None:
        """Close the idle sessions that would not be handed out any more."""
        with self._lock:
            unfit = [place for place, idle in self._idle.items() if not self._is_current(idle)]
        self.end(unfit)

    def end(self, places: Sequence[_Place]) -> None:
        """Close the sessions that are idle in these places."""
        with self._lock:
            found = [idle for place in places if (idle := self._idle.pop(place, None)) is not None]
        for idle in found:
            self.settings.driver.close(idle.connection)

    def close(self) -> None:
        """Close the idle sessions now, and each of the others when it is given back."""
        with self._lock:
            self.is_closed = True
            places = [*self._idle]
        self.end(places)

    def keep(self, seat: Seat) -> None:
        """Make the session of this place as new and keep it, or close it when that cannot be done."""
        driver, connection, idle = self.settings.driver, seat.connection, None
        try:
            if self._is_worth_keeping(seat):
                idle = self._as_new(seat)
        except BaseException as exc:
            if driver.facts(exc) is None:
                raise
            logger.debug("a session at %s was not kept: %s", seat.address, exc)
            self.distrust(seat.address)
        finally:
            with self._lock:
                if idle is not None and not self.is_closed:
                    self._idle[seat.place] = idle
                else:
                    idle = None
            if idle is None:
                driver.close(connection)

    def leftovers(self, connection: Connection) -> Sequence[Sequence[Any]]:
        """What a reset would not take from the session. Raises the driver's errors."""
        driver, limit = self.settings.driver, self.settings.limit
        try:
            return driver.ask(connection, _LEFTOVERS[0], limit)
        except BaseException as exc:
            facts = driver.facts(exc)
            if facts is None or facts.errno != _NO_SUCH_FUNCTION:
                raise
        return driver.ask(connection, _LEFTOVERS[1], limit)

    def after_fork(self) -> None:
        """In a forked child: let go of all sessions without a word to the server; they are the parent's."""
        self._lock = threading.RLock()
        driver = self.settings.driver
        for idle in self._idle.values():
            driver.abort(idle.connection, only_here=True)
        for seat in tuple(self._in_use):
            seat.is_inherited = True
            if seat.connection is not None:
                driver.abort(seat.connection, only_here=True)
            _inherited.append(seat)
        _inherited.extend(self._idle.values())
        _inherited.extend(self._queues.values())
        self._idle, self._queues, self._in_use = {}, {}, weakref.WeakSet()

    def _queue(self, address: Address) -> QueuePool:
        if (queue := self._queues.get(address)) is None:
            from sqlalchemy.pool import QueuePool

            limits = self.settings.limits
            made = QueuePool(
                lambda: _Place(self),  # type: ignore[arg-type]
                pool_size=limits.size,
                max_overflow=limits.overflow,
                timeout=limits.timeout,
                use_lifo=True,
                reset_on_return=None,
            )
            queue = self._queues.setdefault(address, made)
        return queue

    def _exhausted(self, address: Address) -> str:
        limits = self.settings.limits
        return (
            f"Alias {self.settings.alias!r}: all {limits.size + limits.overflow} sessions of its pool at {address} are "
            f"in use, and none was given back within {limits.timeout:g} s. Each thread that uses the alias has one, "
            "until it closes its connection or its request ends. Raise 'pool_size' or 'max_overflow' in "
            "OPTIONS['pool'], or 'timeout' to wait for longer."
        )

    def _is_current(self, idle: _Idle) -> bool:
        is_old = time.monotonic() - idle.opened_at > self.settings.limits.lifetime
        return not is_old and idle.stamp == self.stamp(idle.address)

    def _is_fit(self, idle: _Idle) -> bool:
        return self._is_current(idle) and not self.settings.driver.look(idle.connection)(0)

    def _agrees(self, idle: _Idle, ask: Ask) -> bool:
        if not self.settings.is_asked:
            return True
        try:
            return ask(idle.connection)
        except BaseException as exc:
            if self.settings.driver.facts(exc) is None:
                raise
            self.distrust(idle.address)
            return False

    def _is_worth_keeping(self, seat: Seat) -> bool:
        driver, connection, idle = self.settings.driver, seat.connection, seat.idle
        if idle is None or self.is_closed or not self._is_current(idle):
            return False
        queue = self._queues[seat.address]
        has_room = queue.checkedin() < queue.size()
        return has_room and not driver.is_out_of_step(connection) and not driver.look(connection)(0)

    def _as_new(self, seat: Seat) -> _Idle | None:
        settings, idle = self.settings, seat.idle
        assert idle is not None
        settings.driver.reset(idle.connection, settings.params, settings.limit)
        return idle if self.leftovers(idle.connection) == idle.leftovers else None


class Seat:
    """A place of a pool that somebody has. In a `with` block it is left at the end, unless `taken()` was called.

    `connection` is None where a session is to be opened and put in by `fill()`. `was_kept` says that somebody else has
    had it before. Who closes the session leaves the place, else it is given back.
    """

    def __init__(self, pools: Pools, address: Address, proxy: PoolProxiedConnection) -> None:
        self.address = address
        self.connection: Connection | None = None
        self.idle: _Idle | None = None
        self.is_inherited = False
        self.place: Any = proxy.dbapi_connection
        self.stamp = pools.stamp(address)
        self._pools = pools
        self._proxy = proxy
        self.was_kept = False
        self._is_taken = False

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self._is_taken:
            connection = self.connection
            self.leave()
            if connection is not None:
                self._pools.settings.driver.close(connection)

    def fill(self, connection: Connection) -> None:
        """Put in a session that has just been opened. Raises the driver's errors."""
        self.connection = connection
        leftovers = self._pools.leftovers(connection)
        self.idle = _Idle(connection, self.address, self.address, time.monotonic(), self.stamp, leftovers)

    @property
    def instance(self) -> Address:
        """Where its session is: at its address, or at the instance that this is a name for."""
        return self.address if self.idle is None else self.idle.instance

    def is_with(self, instance: Address) -> None:
        """Its session has turned out to be there."""
        if self.idle is not None:
            self.idle = replace(self.idle, instance=instance)

    def taken(self) -> Seat:
        """It stays in use after the `with` block."""
        self._is_taken = True
        return self

    def distrust(self) -> None:
        """This session was found dead after it had been idle."""
        self._pools.distrust(self.address)

    def give_back(self) -> None:
        """Have the session kept for the next, as new, or closed. Raises nothing that is a driver's."""
        if self.is_inherited:
            return
        try:
            self._pools.keep(self)
        finally:
            self.leave()

    def leave(self) -> None:
        """Give the place to the next; the session is closed by whoever has it."""
        if not self.is_inherited:
            self.connection = None
            self._proxy.close()


def session_at(
    address: Address, open_there: Callable[[], Connection], pools: Pools | None, ask: Ask
) -> tuple[Connection, Seat | None]:
    """A session at this address, from the pool there if there are pools and one is idle."""
    if pools is None:
        return open_there(), None
    with pools.take(address, ask) as seat:
        if seat.connection is None:
            seat.fill(open_there())
        return seat.connection, seat.taken()


_lock = threading.Lock()
_known: dict[str, Pools] = {}
_all: weakref.WeakSet[Pools] = weakref.WeakSet()  # those as well that are closed and have sessions in use still
_inherited: list[object] = []  # of a parent process; never to be let go of, as their locks may be held for ever


def pools_of(settings: PoolSettings) -> Pools:
    """The pools of an alias. Those that it had with other settings are closed."""
    with _lock:
        former = _known.get(settings.alias)
        if former is not None and former.settings == settings:
            return former
        pools = _known[settings.alias] = Pools(settings)
    if former is not None:
        former.close()
    return pools


def close_pools(alias: str) -> None:
    """Close the pools of an alias; its next connection begins with new ones."""
    with _lock:
        pools = _known.pop(alias, None)
    if pools is not None:
        pools.close()


def close_all_pools() -> None:
    """Close the pools of this process."""
    for alias in tuple(_known):
        close_pools(alias)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for pools in tuple(_all):
        pools.after_fork()


in_each_child(_after_fork_in_child)
