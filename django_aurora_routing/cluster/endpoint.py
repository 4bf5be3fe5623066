"""Opens sessions at a fixed endpoint, which leads to whom it likes, until one is with a server of the right role."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from ..core.endpoints import Address
from ..core.failures import Failure, classify_mysql
from ..core.pacing import Backoff
from ..core.rows import is_on
from ..core.splitting import Verification
from ..core.topology import Role
from ..drivers.base import Connection, Driver
from ..errors import FailoverFailedError
from ..forks import in_each_child

_ROLE = "SELECT @@innodb_read_only, @@read_only"  # a reader of Aurora has the first, any other the second
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds for which an endpoint is not tried, up to half of it less
_MAY_PASS = (Failure.UNREACHABLE, Failure.BUSY, Failure.LOST, Failure.NEVER_SENT)


def has_role(driver: Driver, connection: Connection, wanted: Role, timeout: float | None) -> bool:
    """Ask the server at the other end. Raises the driver's errors."""
    (flags,) = driver.ask(connection, _ROLE, timeout)
    return any(map(is_on, flags)) is (wanted is Role.READER)


def may_pass(driver: Driver, error: BaseException) -> bool:
    """Whether nobody of the right role answered, which is no refusal."""
    facts = driver.facts(error)
    if facts is None:
        return isinstance(error, FailoverFailedError)
    return classify_mysql(facts, connecting=True) in _MAY_PASS


def open_verified(
    driver: Driver, open_there: Callable[[], Connection], wanted: Verification, limit: float
) -> Connection:
    """A session with a server of the role that is wanted; a server has `limit` seconds to tell its role.

    Tried again for as long as it is said in `wanted` where the role is another, or a failure may pass. Raises the last
    such failure then, and any other at once.
    """
    until = time.monotonic() + wanted.timeout
    while True:
        connection: Connection | None = None
        failure: BaseException | None = None
        try:
            connection = open_there()
            if has_role(driver, connection, wanted.role, limit):
                return connection
            driver.close(connection)
        except BaseException as exc:
            if connection is not None:
                driver.close(connection)
            facts = driver.facts(exc)
            if facts is None or classify_mysql(facts, connecting=connection is None) not in _MAY_PASS:
                raise
            failure = exc
        if time.monotonic() + wanted.interval >= until:
            raise failure or _wrong_role(wanted)
        time.sleep(wanted.interval)


def _wrong_role(wanted: Verification) -> FailoverFailedError:
    error = FailoverFailedError(
        f"no connection was with a {wanted.role.value} within {wanted.timeout:g} s (srw_connect_retry_timeout_ms)"
    )
    error.in_transaction = False
    return error


class Absences:
    """Endpoints at which nobody could be had. One connection now and then tries again, and the others do without."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """In a forked child: whoever was trying is not there."""
        self._lock = threading.Lock()
        self._known: dict[Address, Backoff] = {}
        self._rng = random.Random()

    def begin(self, address: Address) -> bool:
        """Whether to try, which nobody else does until `end()` is called where it failed before."""
        with self._lock:
            backoff = self._known.get(address)
            if backoff is None:
                return True
            if is_due := backoff.is_due(time.monotonic()):
                self._known[address] = replace(backoff, due_at=math.inf)
            return is_due

    def end(self, address: Address, *, is_absent: bool) -> None:
        with self._lock:
            if is_absent:
                backoff = self._known.get(address, Backoff(_FIRST_PAUSE, _LONGEST_PAUSE))
                self._known[address] = backoff.failed(time.monotonic(), self._rng.random())
            else:
                self._known.pop(address, None)


WITHOUT_READER = Absences()
in_each_child(WITHOUT_READER.after_fork)
