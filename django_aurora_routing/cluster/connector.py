"""Opens an application's connection on the right instance, waiting for a failover to end where there is one."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..core.custom_endpoints import allowed_ids
from ..core.endpoints import Address
from ..core.failover import (
    AwaitTopology,
    Connect,
    GiveUp,
    Place,
    Plan,
    Step,
    View,
    candidates,
    first_mode,
    modes_of,
    next_step,
    place_of,
)
from ..core.failures import Failure, classify_mysql
from ..core.initial import AS_AFTER_A_FAILOVER, Start, Substitution, start_of
from ..core.options import FailoverMode, Options
from ..core.preferences import Preferences
from ..core.regions import Candidates, Duty
from ..core.topology import Instance, Role
from ..drivers.base import SETUP, Connection, Driver
from .activity import Activity
from .cluster import Cluster
from .credentials import LogIn, log_in
from .gate import Failed
from .link import Link, Links
from .news import Waiting
from .outcomes import Opened, Refused
from .pools import Pools, Seat, session_at
from .registry import settle

logger = logging.getLogger(__name__)

_LOOK_AGAIN = 1.0  # seconds
_RNG = random.SystemRandom()  # costs nothing to make, and forked processes choose differently
_MAY_PASS = (Failure.UNREACHABLE, Failure.BUSY, Failure.LOST, Failure.NEVER_SENT)


@dataclass(frozen=True, slots=True)
class Search:
    """What one alias wants of its cluster, which the registry knows by `key`.

    `measuring` opens the sessions that measure how fast readers answer. The instance is chosen first; with `pools`, a
    session that is kept for it is then taken before one is opened. `setup` is what a new one is to run; not on
    HOST itself, which may be a proxy: for two statements in one packet some pin a session, and some refuse them.
    """

    key: Hashable
    cluster: Cluster
    links: Links
    options: Options
    log_in: LogIn = log_in
    alias: str = ""
    measuring: Link | None = None
    pools: Pools | None = None
    setup: str = ""

    @property
    def driver(self) -> Driver:
        return self.links.topology.driver

    @property
    def preferences(self) -> Preferences:
        """What the alias wants of its readers now: of those, that is, which a custom endpoint has as members."""
        endpoint, preferences = self.options.custom_endpoint, self.options.preferences
        members = self.cluster.member_lists.of(endpoint).members if endpoint is not None else None
        if members is None:
            return preferences
        return replace(preferences, allowed=allowed_ids(members, self.cluster.view.topology))

    @property
    def _meeting_limit(self) -> float:
        """How long it may take to find out what HOST is part of."""
        return min(self.options.connect_limit, self.options.initial.topology_wait or math.inf)

    def candidates(self, view: View | None = None) -> Candidates:
        """Who the alias may be on by role and region, as far as is known now, or was in that view."""
        return candidates(view or self.cluster.view, self.options.failover_mode, self.options.regions)

    def duty_at(self, address: Address | None, view: View) -> Duty:
        """What a connection to `address` is there for."""
        duty, writer = self.candidates(view).duty, view.topology.writer
        is_writer = writer is not None and writer.address == address
        return Duty.WRITE if duty is Duty.FORWARD and is_writer else duty

    def place_of(self, address: Address) -> Place:
        """Whether a connection to `address` is where the alias wants it, as far as is known now."""
        view, preferences = self.cluster.view, self.preferences
        places = [place_of(address, mode, view, self.options.regions, preferences) for mode in self._modes()]
        return min(places, key=list(Place).index)

    def _modes(self) -> tuple[FailoverMode, ...]:
        """What a connection may have been made for: where new ones go, and where they go after a failure."""
        options = self.options
        return modes_of(start_of(options.initial, self.cluster.view.topology), options.failover_mode)

    def _plan(self, deadline: float) -> Plan:
        options = self.options
        return Plan(options.failover_mode, deadline, regions=options.regions, preferences=self.preferences)

    def found(self) -> Search | Refused:
        """This search, in the cluster that the alias's HOST has turned out to be; meets it if nobody has."""
        cluster = self.cluster
        if cluster.is_settled:
            return self
        if (failure := cluster.ensure_known(self.links, time.monotonic() + self._meeting_limit)) is not None:
            return Refused(str(failure), failure)
        settled = settle(self.key, cluster)
        return replace(self, cluster=settled) if isinstance(settled, Cluster) else Refused(str(settled), settled)

    def open(
        self,
        params: Mapping[str, Any],
        activity: Activity,
        *,
        after_failure: bool = False,
        goal: Address | None = None,
    ) -> Opened | Refused:
        """Open a connection as `params` say, on an instance that is right for the options.

        Takes at most `failover_timeout_sec` when the cluster is known and failover is on, else `connect_limit`.
        `after_failure` has a reader chosen by the strategy for failovers; `goal` is tried first, if it is fit.
        `activity` counts for the chosen instance from the choice on.
        """
        activity.search = self
        self.cluster.watch(activity)
        try:
            opened = self._open(params, activity, after_failure, goal)
            if isinstance(opened, Opened):
                activity.address, activity.connection = opened.address, opened.connection
                opened = replace(opened, duty=self.duty_at(opened.address, self.cluster.view))
            return opened
        finally:
            activity.heading = None

    def _open(
        self, params: Mapping[str, Any], activity: Activity, after_failure: bool, goal: Address | None
    ) -> Opened | Refused:
        options, cluster = self.options, self.cluster
        now = time.monotonic()
        if (failure := cluster.ensure_known(self.links, now + self._meeting_limit)) is not None:
            return Refused(str(failure), failure)
        assert cluster.dialect is not None
        if not cluster.dialect.is_cluster:
            seed = cluster.settings.seed
            open_there = partial(self.log_in, self.driver, seed, params, options.connect_limit)
            connection, seat = session_at(seed, open_there, self.pools, self._is_alive)
            logger.debug("%s: alias %r is connected to %s, a server of its own", cluster.key, self.alias, seed)
            return Opened(connection, seed, cluster.generation, seat)
        if (endpoint := options.custom_endpoint) is not None and (problem := cluster.member_lists.of(endpoint).use()):
            return Refused(problem, None)
        limit = options.failover_timeout if options.uses_failover else options.connect_limit
        strategy = options.failover_reader_strategy if after_failure else options.reader_strategy
        start, mode = AS_AFTER_A_FAILOVER, options.failover_mode
        if not after_failure:
            initial = options.initial
            start, limit = start_of(initial, cluster.view.topology), initial.retry_timeout or limit
            strategy = initial.strategy or strategy
            mode = first_mode(start, mode, cluster.view, _RNG)
        turn = cluster.turn(self.alias)
        plan = replace(self._plan(now + limit), mode=mode, strategy=strategy, turn=turn, goal=goal)
        if start.role is not None:  # said of new connections, it comes before what a failover in some region wants
            plan = replace(plan, regions=replace(plan.regions, active=None, inactive=None))
        if options.zone_source is not None:
            cluster.zones.want(options.zone_source)
        if self.measuring is not None:
            cluster.response_times.want(self.measuring, options.response_interval)
        # The first meeting was before that: the writer has called itself one then, but maybe by another name.
        is_first = not after_failure
        if start.role is Substitution.NONE:
            opened = replace(self, setup="")._open_host(start, params, plan.deadline)
            if opened is not None:
                return opened
            is_first, plan = False, self._plan(plan.deadline)
        with cluster.news.waiting() as waiting:
            return self._follow(plan, params, activity, time.monotonic(), start, is_first, waiting)

    def _open_host(self, start: Start, params: Mapping[str, Any], deadline: float) -> Opened | Refused | None:
        """Connect to HOST itself, again until its server has the role that it must have. None for: by failover."""
        cluster, options, host = self.cluster, self.options, self.options.initial.host
        assert cluster.dialect is not None
        while True:
            view = cluster.view
            step = Connect(Instance(str(host), host, start.verified or Role.WRITER), "HOST itself")
            with self.pools.take(host, self._is_alive) if self.pools is not None else contextlib.nullcontext() as seat:
                if seat is not None and seat.connection is not None:
                    return Opened(seat.connection, seat.instance, view.generation, seat.taken())
                outcome = self._try(step, params, deadline, start.verified is None, seat)
            if isinstance(outcome, Opened):
                try:
                    ask = partial(self.driver.ask, outcome.connection)
                    there = cluster.dialect.observe(ask, host, cluster.settings.pattern).server_id
                except BaseException:
                    self.driver.close(outcome.connection)
                    if outcome.seat is not None:
                        outcome.seat.leave()
                    raise
                instances = cluster.view.topology.instances
                found = next((i.address for i in instances if there in (i.id, i.server)), host)
                logger.debug("%s: connected to %s, which is %s", cluster.key, host, there)
                if outcome.seat is not None:
                    outcome.seat.is_with(found)
                return replace(outcome, address=found)
            if outcome.error is not None and outcome.failure is not Failure.BUSY:
                goes_on = options.uses_failover and options.connect_failover
                return None if goes_on else Refused(outcome.reason, outcome.error)
            if time.monotonic() >= deadline:
                return Refused(f"{host}: {outcome.reason}", outcome.error)
            cluster.wait_for_news(view.version, min(deadline, time.monotonic() + options.initial.retry_interval))

    def _choose(self, plan: Plan, view: View, activity: Activity) -> Step:
        cluster, now = self.cluster, time.monotonic()
        activity.heading = None
        found = candidates(view, plan.mode, plan.regions)
        if not found.wants_reader:
            return next_step(plan, view, now, _RNG, found=found)
        with cluster.choosing:  # one after the other, so that each counts for the next
            step = next_step(plan, view, now, _RNG, cluster.facts(plan.preferences.weights_for(plan.strategy)), found)
            if isinstance(step, Connect):
                activity.heading = step.instance.address
            return step

    def _follow(
        self,
        plan: Plan,
        params: Mapping[str, Any],
        activity: Activity,
        began: float,
        start: Start,
        is_first: bool,
        waiting: Waiting,
    ) -> Opened | Refused:
        cluster, options = self.cluster, self.options
        error: BaseException | None = None
        busy_until = began + options.connect_timeout
        while True:
            view = cluster.view
            step = self._choose(plan, view, activity)
            if isinstance(step, GiveUp):
                return self._refused(step, None if options.uses_failover else error)
            if isinstance(step, AwaitTopology):
                self._await(step, waiting)
                continue
            address, is_current = step.instance.address, partial(cluster.is_at, view.version)
            turn = partial(cluster.gate.turn, address, plan.deadline, until_if_busy=busy_until, is_current=is_current)
            with contextlib.ExitStack() as stack:
                seat: Seat | None = None
                if self.pools is not None:
                    waiting.pass_on()  # there may be no place free
                    seat = stack.enter_context(self.pools.take(address, self._is_alive))
                    if not is_current():
                        continue  # that may have taken its time
                    if seat.connection is not None:
                        self._say("takes a kept session on", step)
                        return Opened(seat.connection, address, view.generation, seat.taken())
                outcome: Opened | Failed | None
                if has_turn := stack.enter_context(turn()):
                    # After a failover, a writer that has confirmed itself while the search went on is not asked again.
                    is_known = step.instance.role is Role.WRITER and cluster.view.confirmed_at > began
                    outcome = self._try(step, params, plan.deadline, is_known or not start.is_asked, seat)
                    cluster.gate.note(address, outcome if isinstance(outcome, Failed) else None)
                else:
                    outcome = cluster.gate.last_failure(address)  # of others
            if isinstance(outcome, Opened):
                cluster.offer(self.links, known_to_work=True)
                self._say("is connected to", step)
                return outcome
            if outcome is None:
                continue
            error, reason = outcome.error, outcome.reason
            plan = plan.failed(address, reason)
            if not has_turn and (outcome.failure is not Failure.BUSY or not is_current()):
                continue  # things have changed while others connected, or the time is over
            if outcome.failure is Failure.BUSY:
                if time.monotonic() >= busy_until:
                    return Refused(reason, error)
                continue
            cluster.suspect(address, reason)
            goes_on = options.uses_failover or candidates(view, plan.mode, plan.regions).wants_reader
            if error is not None and not (goes_on and (options.connect_failover or not is_first)):
                return Refused(reason, error)

    def _say(self, verb: str, step: Connect) -> None:
        instance = step.instance
        what = (self.cluster.key, self.alias, verb, instance.id, instance.role.value, instance.address)
        logger.debug("%s: alias %r %s %s (%s, %s): %s", *what, step.reason)

    def _try(
        self, step: Connect, params: Mapping[str, Any], deadline: float, is_known: bool, seat: Seat | None
    ) -> Opened | Failed:
        """Connect to one instance. Returns why not when another try, here or elsewhere, may help; raises otherwise."""
        address = step.instance.address
        limit = self.options.connect_limit
        if step.instance.role is Role.READER:
            limit = min(limit, self.options.reader_connect_timeout or limit)
        until = min(deadline, time.monotonic() + limit)
        generation = self.cluster.generation
        connection: Connection | None = None
        try:
            connection = self.log_in(self.driver, address, {**params, SETUP: self.setup}, _left(until))
            reason = None if is_known else self._wrong_role(connection, step, _left(until))
            if seat is not None and reason is None:
                seat.fill(connection)
        except BaseException as exc:
            if connection is not None:
                self.driver.close(connection)
            facts = self.driver.facts(exc)
            if facts is None:
                raise
            failure = classify_mysql(facts, connecting=connection is None)
            if failure not in _MAY_PASS:
                if failure is Failure.REFUSED or connection is not None:
                    self.cluster.gate.note(address)  # it has answered
                raise
            return Failed(failure, exc, str(exc))
        if reason is not None:
            self.driver.close(connection)
            return Failed(Failure.READ_ONLY, None, reason)
        return Opened(connection, address, generation, seat.taken() if seat is not None else None)

    def _wrong_role(self, connection: Connection, step: Connect, timeout: float) -> str | None:
        """Ask the instance for its role: topology ages, and a name may lead to another server by now."""
        wants_writer = step.instance.role is Role.WRITER
        assert self.cluster.dialect is not None
        refuses = self.cluster.dialect.refuses_writes(lambda sql: self.driver.ask(connection, sql, timeout))
        if refuses == wants_writer:
            return "it is a reader now" if refuses else "it is the writer now"
        return None

    def still_serves(self, connection: Connection, timeout: float | None) -> bool:
        """Ask a connection that was opened earlier whether it lives and still has the role that is wanted.

        One question for both; that it is dead is told by the driver's own errors.
        """
        dialect, role = self.cluster.dialect, self.candidates(self.cluster.view).only_role
        if dialect is None or not dialect.is_cluster or role is None or len(self._modes()) > 1:
            self.driver.ask(connection, "SELECT 1", timeout)
            return True
        refuses = dialect.refuses_writes(lambda sql: self.driver.ask(connection, sql, timeout))
        return refuses is (role is Role.READER)

    def _is_alive(self, connection: Connection) -> bool:
        return self.still_serves(connection, self.options.connect_limit)

    def _await(self, step: AwaitTopology, waiting: Waiting | None = None) -> None:
        """Wait for news, having made sure that somebody is looking for them, with credentials that work."""
        cluster = self.cluster
        cluster.offer(self.links, known_to_work=False)
        if cluster.view.trusted_writer is None:
            cluster.writer_search.begin()
        cluster.topology_monitor.wake()
        # Not for longer than that: should the monitors have been released meanwhile, somebody has to wake them again.
        cluster.wait_for_news(step.version, min(step.until, time.monotonic() + _LOOK_AGAIN), waiting)

    def _refused(self, step: GiveUp, error: BaseException | None) -> Refused:
        problem = self.cluster.problem
        return Refused(f"{step.reason}. Last trouble of the monitors: {problem}" if problem else step.reason, error)

    def find_again(self, address: Address, reason: str) -> Refused | None:
        """After a loss on `address`: wait until there is an instance to go on with. None when there is one."""
        self.cluster.suspect(address, reason)
        plan = self._plan(time.monotonic() + self.options.failover_timeout)
        while True:
            step = next_step(plan, self.cluster.view, time.monotonic(), _RNG)
            if isinstance(step, GiveUp):
                return self._refused(step, None)
            if isinstance(step, Connect):
                return None
            self._await(step)


def _left(until: float) -> float:
    """Seconds left, but not so few that a host in good health could not answer."""
    return max(0.1, until - time.monotonic())
