"""Logs in with credentials that age: kept for all threads, fetched once, renewed ahead of their end.

One seam: whoever connects, an application or a monitor, calls `log_in()`. The credentials come with the arguments of
the connection, under a name that no driver has.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from ..core.endpoints import Address
from ..core.failures import is_access_denied
from ..core.logins import Issued as Account
from ..core.logins import Rejected, Unavailable
from ..core.pacing import Backoff
from ..core.secret import SECRET_NAMES, Secret
from ..drivers.base import Connection, Driver
from ..errors import LoginError, NoCredentialsError
from ..forks import in_each_child

logger = logging.getLogger(__name__)

CREDENTIALS = "aurora_credentials"
"""The name that credentials have among the arguments of a connection, until `log_in()` takes them out."""

_FRUITLESS = 1.0  # seconds until a refusal may cause another fetch, when the last one brought nothing that helped
_AFTER_TROUBLE = Backoff(0.5, 5.0)
_AFTER_REJECTION = Backoff(300.0, 3600.0)  # a provider locks an account after a few wrong passwords
_REFRESH_AT = 2 / 3  # of its life: AWS credentials that it was signed with are good for ten minutes more at least
_NOT_GIVEN = frozenset({CREDENTIALS, "user", "passwd", *SECRET_NAMES})


class Aging(Protocol):
    """Anything that is good for so many seconds after it was fetched."""

    @property
    def lifetime(self) -> float: ...


T = TypeVar("T", bound=Aging)


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """What was fetched, and by `time.monotonic()` when to fetch it anew and when it is of no use any more."""

    value: T = field(repr=False)
    fetched_at: float
    refresh_at: float
    ends_at: float


class _Flight(Generic[T]):
    """One fetch under way."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.held: Held[T] | None = None
        self.problem = ""
        self.is_rejected = False


class Kept(Generic[T]):
    """One value: at most one fetch of it at a time in this process, in a thread that nobody has to wait for.

    While the value is good, who asks gets it at once, and a fetch that is due goes on beside. `outlives` says that it
    may be of use after its end as well, for as long as no other is to be had. `fetch` raises Unavailable.
    """

    def __init__(self, name: str, fetch: Callable[[], T], *, outlives: bool = False) -> None:
        self.name = name
        self._fetch = fetch
        self._outlives = outlives
        self._held: Held[T] | None = None
        self._rejections = _AFTER_REJECTION  # a forked child knows of them
        self._problem = ""
        self.after_fork()
        _everything_kept.add(self)

    def after_fork(self) -> None:
        """In a forked child: no fetch of the parent's goes on here, and its locks may be held for ever."""
        self._lock = threading.Lock()
        self._flight: _Flight[T] | None = None
        self._backoff = _AFTER_TROUBLE
        self._fruitless_until = float("-inf")

    def get(self, until: float) -> Held[T]:
        """The value, waited for until then (`time.monotonic()`) at the most. Raises Unavailable."""
        held, now = self._held, time.monotonic()
        if held is None or now >= held.ends_at:
            return self._wait(self._begin(held), until)
        if now >= held.refresh_at and self._is_due(now):
            self._begin(held)
        return held

    def another(self, refused: Held[T], until: float) -> Held[T] | None:
        """After this value was refused: one that was fetched since, or now. None when that is of no use."""
        held, now = self._held, time.monotonic()
        if held is not refused:
            return held
        if now < self._fruitless_until:
            return None
        try:
            held = self._wait(self._begin(refused), until)
        except Unavailable as exc:
            logger.warning("a login with %s was refused, and there is no other: %s", self.name, exc)
            return None
        if held.value == refused.value:
            self._fruitless_until = time.monotonic() + _FRUITLESS
            return None
        return held

    def replace_if_older(self, age: float, until: float) -> None:
        """What was made with it is refused: fetch another, unless this one is young. Without another, it stays."""
        held = self._held
        if held is not None and time.monotonic() - held.fetched_at > age:
            self.another(held, until)

    def note_fruitless(self) -> None:
        """A value fresh from its source was refused: another fetch would not help for a while."""
        self._fruitless_until = time.monotonic() + _FRUITLESS

    def _is_due(self, now: float) -> bool:
        """Whether enough time has passed since a fetch has failed."""
        return self._backoff.is_due(now) and self._rejections.is_due(now)

    def _begin(self, seen: Held[T] | None) -> _Flight[T]:
        """The fetch that is under way, one that ended after `seen` was looked at, or a new one."""
        with self._lock:
            flight = self._flight
            if flight is not None:
                return flight
            flight = _Flight()
            if self._held is not seen:
                flight.held = self._held
                flight.done.set()
                return flight
            if not self._is_due(time.monotonic()):
                flight.problem = self._problem
                flight.done.set()
                return flight
            self._flight = flight
        thread = threading.Thread(target=self._run, args=(flight,), name=f"aurora-login {self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # at interpreter exit, or at the limit of threads
            self._run(flight)
        return flight

    def _run(self, flight: _Flight[T]) -> None:
        began = time.monotonic()
        flight.problem = f"{self.name}: interrupted"
        try:
            value = self._fetch()
            ends_at = began + value.lifetime
            refresh_at = began + value.lifetime * (1.0 if self._outlives else _REFRESH_AT)
            flight.held = Held(value, began, refresh_at, float("inf") if self._outlives else ends_at)
        except Unavailable as exc:
            flight.problem = str(exc)
            flight.is_rejected = isinstance(exc, Rejected)
        except Exception as exc:  # noqa: BLE001 - a mistake, but who waits must hear of it
            # Not in its own words, which may hold a secret.
            flight.problem = f"{self.name}: {type(exc).__name__}, a mistake of this package or of boto3"
        finally:
            self._land(flight)

    def _land(self, flight: _Flight[T]) -> None:
        with self._lock:
            if self._flight is flight:
                self._flight = None
            if flight.held is not None:
                self._held = flight.held
                self._backoff, self._rejections = _AFTER_TROUBLE, _AFTER_REJECTION
            elif flight.is_rejected:
                self._rejections = self._rejections.failed(time.monotonic(), 0.0)
                pause = self._rejections.due_at - time.monotonic()
                self._problem = f"{flight.problem} (said {_clock()}; not asked again for {pause / 60:.0f} min)"
            else:
                self._problem = flight.problem
                self._backoff = self._backoff.failed(time.monotonic(), random.random())
        flight.done.set()
        if flight.held is None and self._held is not None:
            logger.warning("%s could not be renewed: %s", self.name, flight.problem)

    def _wait(self, flight: _Flight[T], until: float) -> Held[T]:
        if not flight.done.wait(max(0.0, until - time.monotonic())):
            raise Unavailable(f"{self.name}: no answer in time")
        if flight.held is None:
            raise Unavailable(flight.problem)
        return flight.held


class Issued(Aging, Protocol):
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...


class Credentials:
    """What one way of logging in gives to each connect: a value kept for each address that one is good for."""

    def __init__(
        self,
        name: str,
        fetch: Callable[[Address], Issued],
        *,
        key: Callable[[Address], Hashable],
        arguments: Mapping[str, Any] = {},
        outlives: bool = False,
        refused: Callable[[float], None] = lambda until: None,
    ) -> None:
        """`refused` is called before anything is fetched anew because a server has refused it, and may take its time
        until then (`time.monotonic()`)."""
        self.name = name
        self.refused = refused
        self.arguments = arguments  # of the driver, besides user and password
        self._fetch = fetch
        self._key = key
        self._outlives = outlives
        self._by_address: dict[Address, Kept[Issued]] = {}
        self._by_key: dict[Hashable, Kept[Issued]] = {}

    def __repr__(self) -> str:
        return f"<Credentials: {self.name}>"

    def at(self, address: Address) -> Kept[Issued]:
        """What is kept for an address. Raises Unavailable for one that there can be nothing for."""
        if (kept := self._by_address.get(address)) is None:
            key = self._key(address)
            name = self.name if key is None else f"{self.name}, for {key}"
            new = Kept(name, lambda: self._fetch(address), outlives=self._outlives)
            kept = self._by_address[address] = self._by_key.setdefault(key, new)
        return kept

    def given(self, params: Mapping[str, Any], issued: Issued) -> dict[str, Any]:
        """The arguments of a connection with these credentials in the place of all others."""
        plain = {name: value for name, value in params.items() if name not in _NOT_GIVEN}
        return {**plain, **self.arguments, "user": issued.user, "password": issued.password}


LogIn = Callable[[Driver, Address, Mapping[str, Any], float], Connection]
"""`log_in()`, or what does something around it."""


def log_in(driver: Driver, address: Address, params: Mapping[str, Any], timeout: float) -> Connection:
    """Open a session within about `timeout` seconds, with the credentials among `params` if there are any.

    Raises the driver's own errors, but LoginError when there are no credentials, or they are refused: those that had
    been kept, and then fresh ones.
    """
    credentials: Credentials | None = params.get(CREDENTIALS)
    if credentials is None:
        return driver.connect(address, params, timeout)
    began = time.monotonic()
    until = began + timeout
    held: Held[Issued] | None = None
    problem = ""
    try:
        kept = credentials.at(address)
        held = kept.get(until)
    except Unavailable as exc:
        problem = str(exc)
    if held is None:
        raise NoCredentialsError(problem)
    is_fresh = held.fetched_at >= began
    while True:
        try:
            arguments = credentials.given(params, held.value)
            return driver.connect(address, arguments, max(0.1, until - time.monotonic()))
        except BaseException as exc:
            facts = driver.facts(exc)
            if facts is None or not is_access_denied(facts):
                raise
        if not is_fresh:
            credentials.refused(until)
        another = None if is_fresh else kept.another(held, until)
        if another is None:
            break
        held, is_fresh = another, True
    if is_fresh:
        kept.note_fruitless()
    age = time.monotonic() - held.fetched_at
    raise LoginError(
        facts.errno,
        f"{facts.message} (with {kept.name}, {age:.0f} s old; this machine's clock says {_clock()})",
    )


_NOBODY = Account("", Secret(""), 0.0)


def knock(driver: Driver, address: Address, params: Mapping[str, Any], timeout: float) -> Connection:
    """Open a session to find out whether anybody answers, without a wait for credentials.

    When none are at hand it is made with nobody's; the server's refusal is an answer like any other.
    """
    credentials: Credentials | None = params.get(CREDENTIALS)
    if credentials is None:
        return driver.connect(address, params, timeout)
    issued: Issued = _NOBODY
    with contextlib.suppress(Unavailable):
        issued = credentials.at(address).get(time.monotonic()).value
    return driver.connect(address, credentials.given(params, issued), timeout)


def _clock() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


_everything_kept: weakref.WeakSet[Kept[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for kept in _everything_kept:
        kept.after_fork()


in_each_child(_after_fork_in_child)
