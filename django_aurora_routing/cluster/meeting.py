"""Meets a cluster: asks HOST what it is part of, and the other names of `hosts` while HOST says nothing."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.endpoints import Address, HostPattern, default_host_pattern, parse_endpoint
from ..core.failures import Failure
from ..core.regions import is_accessible
from ..core.topology import Observation
from ..dialects.base import Dialect
from ..dialects.global_aurora_mysql import GlobalAuroraMySQL
from ..dialects.registry import find_dialect
from ..drivers.base import Connection
from .executor import BackgroundThread
from .link import Links
from .names import Resolve, names_behind, rds_name_behind

if TYPE_CHECKING:
    from .settings import ClusterSettings

logger = logging.getLogger(__name__)

_REGIONAL = "global_cluster_instance_host_patterns"
_EXAMPLE = "abc123.eu-west-1.rds.amazonaws.com"
_HEAD_START = 0.25  # seconds for which a name is waited for before the next one is asked as well
_OF_A_LOGIN = (Failure.REFUSED, Failure.NO_CREDENTIALS)


class MissingSetting(Exception):
    """The cluster was found, and something is missing in the settings, or in the rights of the account."""


class TwoClusters(MissingSetting):
    """Two aliases have one `cluster_id`, and lead to two clusters."""


class Unmet(OSError):
    """None of several names led to a server that could be asked."""


@dataclass(frozen=True, slots=True)
class Met:
    """The first good answer: who gave it, over which connection, what it says, and how instances are named."""

    address: Address
    connection: Connection = field(repr=False)
    dialect: Dialect
    pattern: HostPattern | None
    seen: Observation
    asked_at: float


class Meeting:
    """One attempt to meet a cluster, for everybody who waits for it; within the alias's `connect_limit`.

    HOST may be silent, refuse, or be no name any more. So each further name is asked when those before it have
    failed, or have said nothing for a quarter of a second; the first answer that shows a cluster is taken.
    """

    def __init__(self, settings: ClusterSettings, links: Links, resolve: Resolve = names_behind) -> None:
        self.settings = settings
        self.links = links
        self.resolve = resolve
        # A little early, so that those who wait for as long hear what came of it.
        self.deadline = time.monotonic() + 0.95 * links.connect_limit
        self._changed = threading.Condition()
        self._heard: set[Address] = set()
        self._failures: dict[Address, Exception] = {}
        self._met: Met | None = None
        self._is_over = False

    def hold(self) -> Met | Exception:
        """Ask; returns what came of it."""
        names = self.settings.names
        if len(names) == 1:
            Inquiry(self, names[0], self.links.connect_limit).make()
            return self._outcome()
        inquiries = []
        for number, address in enumerate(names, start=1):
            time_left = max(0.1, self.deadline - time.monotonic())
            inquiry = Inquiry(self, address, time_left)
            inquiries.append(inquiry)
            if not (inquiry.begin() or self._has_heard_from(address)):  # there is no thread to be had
                inquiry.timeout = time_left / (len(names) + 1 - number)
                inquiry.make()
            self._wait(number, min(self.deadline, time.monotonic() + _HEAD_START))
            if self._is_decided():
                break
        self._wait(len(names), self.deadline)
        return self._outcome()

    def take(self, met: Met) -> bool:
        """Whether this answer is the first."""
        with self._changed:
            self._heard.add(met.address)
            if self._is_over or self._met is not None:
                return False
            self._met = met
            self._changed.notify_all()
            return True

    def fail(self, address: Address, error: Exception) -> None:
        with self._changed:
            self._heard.add(address)
            self._failures[address] = error
            self._changed.notify_all()

    def _has_heard_from(self, address: Address) -> bool:
        with self._changed:
            return address in self._heard

    def _wait(self, asked: int, until: float) -> None:
        """Return when it is decided, when all of the first names have failed, or at `until`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_decided() or len(self._failures) >= asked, max(0.0, until - time.monotonic())
            )

    def _is_decided(self) -> bool:
        """Whether there is an answer, or an error that would be the same whoever is asked."""
        return self._met is not None or any(self._is_final(error) for error in self._failures.values())

    def _is_final(self, error: Exception) -> bool:
        return isinstance(error, MissingSetting) or self.links.topology.failure(error) is None

    def _outcome(self) -> Met | Exception:
        with self._changed:
            self._is_over = True
            met, failures = self._met, dict(self._failures)
        if met is not None:
            return met
        names = self.settings.names
        errors = [failures[name] for name in names if name in failures]
        for error in errors:
            if self._is_final(error) or self.links.topology.failure(error) in _OF_A_LOGIN or len(names) == 1:
                return error
        said = "; ".join(f"{name}: {failures.get(name, 'no answer in time')}" for name in names)
        return Unmet(f"no host of the cluster could be asked. {said}")


class Inquiry:
    """Asks one name what it is."""

    def __init__(self, meeting: Meeting, address: Address, timeout: float) -> None:
        self.timeout = timeout
        self._meeting = meeting
        self._address = address
        self._thread = BackgroundThread(f"aurora-meeting {address}", self, Inquiry.make)

    def begin(self) -> bool:
        """Ask in a thread of its own; False when it cannot be started, or has told the meeting already."""
        self._thread.wake()
        return self._thread.is_running

    def make(self) -> None:
        """Ask, and tell the meeting what came of it."""
        link = self._meeting.links.topology
        try:
            met = self._ask()
        except Exception as exc:  # noqa: BLE001 - the meeting tells a bug from a failure
            logger.debug("%s cannot tell what it is: %s", self._address, exc)
            self._meeting.fail(self._address, exc)
        else:
            if not self._meeting.take(met):
                link.close(met.connection)

    def _ask(self) -> Met:
        settings, link, address = self._meeting.settings, self._meeting.links.topology, self._address
        connection = link.open(address, self.timeout)
        try:
            asked_at = time.monotonic()
            dialect = find_dialect(
                settings.dialect, lambda sql: link.ask(connection, sql), lists_instances=settings.lists_instances
            )
            if not dialect.is_cluster and address != settings.seed:
                raise Unmet(f"{address} is a server of its own, not part of a cluster")
            pattern = settings.pattern
            if dialect.needs_pattern and pattern is None:
                pattern = self._pattern_behind(dialect)
            seen = self._observe(dialect, connection, pattern)
            self._check_regions(seen)
        except BaseException:
            link.close(connection)
            raise
        return Met(address, connection, dialect, pattern, seen, asked_at)

    def _observe(self, dialect: Dialect, connection: Connection, pattern: HostPattern | None) -> Observation:
        link = self._meeting.links.topology
        try:
            return dialect.observe(lambda sql: link.ask(connection, sql), self._address, pattern)
        except Exception as exc:
            if link.is_forbidden(exc):
                raise MissingSetting(
                    f"{self._address} is part of a cluster ({dialect.name}), and the account may not ask about it: "
                    f"{exc}. Grant it {dialect.grants}, or name another one in OPTIONS['topology-monitoring-user'] "
                    "and OPTIONS['topology-monitoring-password']."
                ) from exc
            raise

    def _pattern_behind(self, dialect: Dialect) -> HostPattern:
        """The pattern that follows from the RDS name which DNS has behind this one. Raises MissingSetting."""
        host = self._address.host
        name = rds_name_behind(host, self._meeting.resolve)
        if name is not None and (pattern := default_host_pattern(name, self._address.port)) is not None:
            logger.info("%s leads to %s: the instances are found at %s", host, name.host, pattern.pattern)
            return pattern
        leads = "no RDS name" if name is None else f"{name.host}, a {name.kind.value}"
        option, example = "cluster_instance_host_pattern", parse_endpoint(host).domain or _EXAMPLE
        if isinstance(dialect, GlobalAuroraMySQL):
            option, example = _REGIONAL, f"{_EXAMPLE},?.def456.us-east-1.rds.amazonaws.com"
        raise MissingSetting(
            f"{host} is part of a cluster ({dialect.name}), but its name does not tell how the instances are named, "
            f"and it leads to {leads}. Set OPTIONS[{option!r}], for example '?.{example}'."
        )

    def _check_regions(self, seen: Observation) -> None:
        """Of a global database, each region that is accessible needs a pattern. Raises MissingSetting."""
        accessible = self._meeting.settings.accessible
        lost = {i.region for i in seen.instances if not i.address.is_known and is_accessible(i.region, accessible)}
        if lost:
            raise MissingSetting(
                f"{self._address.host} is part of a global database with instances in {', '.join(sorted(lost))}, but "
                f"nothing tells how those are named. Add to OPTIONS[{_REGIONAL!r}], for example "
                f"'{min(lost)}:?.abc123.{min(lost)}.rds.amazonaws.com', or say by OPTIONS['gdb_accessible_regions'] "
                "which regions can be reached."
            )
