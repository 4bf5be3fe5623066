"""Finds hosts that no longer answer while statements wait for them, and ends those statements.

One thread while statements are running, none at rest; a second one for each host under suspicion, and one or two that
connect to it.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.endpoints import Address
from ..core.failures import Failure
from .activity import Activity
from .executor import BackgroundThread

if TYPE_CHECKING:
    from .cluster import Cluster
    from .link import Link

logger = logging.getLogger(__name__)

_LINGER = 10.0  # seconds without any statement before the thread ends
_CONNECTS = 2  # under way to one suspect host


class BlockedCall(NamedTuple):
    activity: Activity
    call: int
    connection: Any


class HostMonitor:
    """Watches the calls of one cluster's connections.

    A call that has run for `failure_detection_time_ms` makes its host suspect; the host is then connected to every
    `failure_detection_interval_ms`, with that as the time limit, and is dead when `failure_detection_count` connects
    in a row have failed. Its blocked calls are then ended by shutting their sockets down, so that each fails as if
    the server had hung up. How soon that is, `core.detection` says.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster: Cluster = weakref.proxy(cluster)
        self.after_fork()

    def after_fork(self) -> None:
        self.asleep = True
        self._idle_since = 0.0
        self._detection = self._cluster.settings.detection
        self._seen: weakref.WeakKeyDictionary[Activity, tuple[int, float]] = weakref.WeakKeyDictionary()
        self._checks: dict[Address, HostCheck] = {}
        self._thread = BackgroundThread(f"aurora-host-monitor {self._cluster.key}", self, HostMonitor._look)

    def wake(self) -> None:
        """A statement begins while nobody watches."""
        self.asleep = False
        self._idle_since = time.monotonic()
        self._thread.wake()

    def stop(self, until: float) -> None:
        self._thread.stop(until - time.monotonic())
        self.asleep = True

    def _look(self) -> float | None:
        now = time.monotonic()
        blocked: dict[Address, list[BlockedCall]] = {}
        busy = False
        for activity in self._cluster.watched():
            call, connection, address = activity.calls, activity.connection, activity.address
            if not activity.busy or connection is None or address is None:
                continue
            busy = True
            last_call, since = self._seen.get(activity, (-1, now))
            if last_call != call:
                self._seen[activity] = (call, now)
            elif now - since >= self._detection.time:
                blocked.setdefault(address, []).append(BlockedCall(activity, call, connection))
        for address, calls in blocked.items():
            check = self._checks.setdefault(address, HostCheck(self._cluster, address))
            check.begin(calls)
        if busy:
            self._idle_since = now
        elif now - self._idle_since > _LINGER:
            # Say so first, then look again: a statement that begins in between either sees `asleep` or is seen here.
            self.asleep = True
            if not any(activity.busy for activity in self._cluster.watched()):
                self._checks.clear()
                return None
            self.asleep = False
        return self._detection.tick


class HostCheck:
    """Tries one suspect host until it answers or is given up.

    Each connect has a thread of its own and `interval` seconds to bring an answer. It is not waited for any longer,
    but may take longer to end: not every driver can be told so exactly. There are two under way at the most.
    """

    def __init__(self, cluster: Cluster, address: Address) -> None:
        self._cluster = cluster
        self._address = address
        self._blocked: tuple[BlockedCall, ...] = ()
        self._failures = 0
        self._reason = "no answer"
        self._next_at = float("-inf")
        self._answered = threading.Event()
        self._connects: list[threading.Thread] = []
        self._thread = BackgroundThread(f"aurora-host-check {address}", self, HostCheck._try)

    def begin(self, blocked: list[BlockedCall]) -> None:
        """Check the host for these calls, unless it has just answered; a check under way counts for them too."""
        self._blocked = tuple(blocked)
        if not self._thread.is_running and time.monotonic() >= self._next_at:
            self._failures = 0
            self._answered.clear()
            self._thread.wake()

    def _try(self) -> float | None:
        detection = self._cluster.settings.detection
        self._connects = [thread for thread in self._connects if thread.is_alive()]
        if len(self._connects) < _CONNECTS:
            arguments = (self._cluster.links.hosts, detection.interval)
            name = f"aurora-host-connect {self._address}"
            connect = threading.Thread(target=self._connect, args=arguments, name=name, daemon=True)
            try:
                connect.start()
            except RuntimeError:  # at interpreter exit, and at the limit of threads
                self._connect(*arguments)
            else:
                self._connects.append(connect)
        if self._answered.wait(detection.interval):
            self._next_at = time.monotonic() + detection.pause
            return None
        self._failures += 1
        if self._failures < detection.count:
            return 0.0
        self._give_up()
        return None

    def _connect(self, link: Link, interval: float) -> None:
        """Whatever the host says, be it that it takes no more connections: it is alive."""
        began = time.monotonic()
        try:
            link.knock(self._address, interval)
        except Exception as exc:
            failure = link.failure(exc)
            if failure is None:
                logger.exception("%s cannot be checked", self._address)  # a mistake of ours is nobody's death
            elif failure is Failure.UNREACHABLE:
                # TLS comes after the greeting; if it failed before the time was up, it was not we who cut it off.
                is_in_time = time.monotonic() - began < link.limited(interval)
                if not (is_in_time and link.is_about_tls(exc)):
                    self._reason = str(exc)
                    return
        self._answered.set()

    def _give_up(self) -> None:
        driver = self._cluster.links.hosts.driver
        ended = sum(
            driver.abort(blocked.connection)
            for blocked in self._blocked
            if blocked.activity.is_still_in(blocked.call, blocked.connection)
        )
        logger.warning(
            "%s does not answer (%d connects failed, last: %s): %d blocked statements ended",
            self._address,
            self._failures,
            self._reason,
            ended,
        )
        self._cluster.suspect(self._address, "does not answer")
