"""The mixin over Django's own database wrappers: places connections, and meets their loss."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.utils import Error, OperationalError
from django.utils.asyncio import async_unsafe
from django.utils.functional import cached_property

from ..cluster.activity import Activity
from ..cluster.cluster import Cluster
from ..cluster.connector import Search
from ..cluster.meeting import MissingSetting
from ..cluster.outcomes import Refused
from ..core.endpoints import Address
from ..core.failover import Place
from ..core.failures import CLIENT_SIDE_LOSSES, ErrorFacts, Failure, classify_mysql, is_of_the_server
from ..core.options import Options, ParsedOptions
from ..core.regions import Duty
from ..core.secret import hidden
from ..drivers.base import Connection, Driver, Look
from ..drivers.sockets import is_ended_by_peer, nothing_seen
from ..errors import (
    FailoverError,
    FailoverFailedError,
)
from .cursor import ClusterCursorsMixin
from .errors import ClusterErrorWrapper
from .extensions import ExtensionsMixin
from .lost import LostConnection, loss_error
from .phases import InPhase, Phase
from .pooling import PooledSessionsMixin
from .read_only import ReadOnlySessionMixin
from .transactions import TransactionsMixin
from .wiring import checked_options, cluster_known_to, given_options, search_for, seed_of

logger = logging.getLogger(__name__)

_LONGEST_UNIT = 30.0
"""Seconds after which a request or task is taken for a job of its own, that has to change its reader midway."""


class ClusterWrapperMixin(
    ClusterCursorsMixin, TransactionsMixin, ReadOnlySessionMixin, PooledSessionsMixin, ExtensionsMixin
):
    """Over a Django `DatabaseWrapper`. The engine names its driver and what that driver is connected with."""

    driver: Driver
    driver_option_names: frozenset[str]
    driver_misplaced_options: Mapping[str, str]
    driver_errors: tuple[type[BaseException], ...] = ()
    error_wrapper_class: type[ClusterErrorWrapper] = ClusterErrorWrapper
    look: Look = staticmethod(nothing_seen)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._search: Search | None = None
        self._activity = Activity()
        self.instance: Address | None = None
        self.duty = Duty.WRITE
        self.phase = Phase.STATEMENT
        self._generation = 0
        self._after_failure = False
        self._ran_out_at: Address | None = None
        self._goal: Address | None = None
        self.unit_began = time.monotonic()
        self._parsed: tuple[Any, ParsedOptions] | None = None

    @cached_property
    def wrap_database_errors(self) -> ClusterErrorWrapper:
        return self.error_wrapper_class(self, self._activity)

    @property
    def all_errors(self) -> tuple[type[BaseException], ...]:
        """Database errors as the driver raises them and as Django does."""
        return (Error, *self.driver_errors)

    # -- connecting

    def split_options(self, settings_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Check OPTIONS, keep ours, and return the driver's. Parsed anew only when the settings have changed."""
        options = {name: hidden(name, value) for name, value in given_options(settings_dict).items()}
        account = (settings_dict["USER"], hidden("password", settings_dict["PASSWORD"]))
        given = (options, settings_dict["HOST"], settings_dict["PORT"], *account)
        if self._parsed is None or self._parsed[0] != given:
            parsed = checked_options(self.alias, settings_dict, self.driver_option_names, self.driver_misplaced_options)
            if self._extensions or parsed.options.extensions:
                self.extend(parsed.options.extensions)
            self._parsed = (given, parsed)
        self._options = self._parsed[1].options
        return dict(self._parsed[1].driver)

    def parsed_options(self) -> Options:
        """What the alias's OPTIONS say, connected or not."""
        self.split_options(self.settings_dict)
        return self._options

    def known_cluster(self) -> Cluster | None:
        """The alias's cluster, if anybody in this process has connected to it."""
        return cluster_known_to(self.settings_dict, self.parsed_options(), self.driver)

    def connect(self) -> None:
        """Connect by Django's own way, so that each switch restores all session state; again if that is cut off."""
        began = time.monotonic()
        with InPhase(self, Phase.CONNECT):
            while True:
                try:
                    super().connect()
                    self.instance = self._activity.address  # only now: its set-up is not what routing asks about
                    return
                except self.all_errors as exc:
                    search, address = self._search, self._activity.address
                    if not self._is_cut_off(exc):
                        raise
                    if (seat := self._seat) is not None and seat.was_kept:
                        self._drop()
                        seat.distrust()  # which leaves the others like it out, so that this comes to an end
                        continue
                    if search is None or address is None:
                        raise
                    options = search.options
                    if not options.uses_failover or time.monotonic() - began >= options.failover_timeout:
                        raise
                    self._drop()
                    search.cluster.suspect(address, str(exc))

    def _is_cut_off(self, error: BaseException) -> bool:
        """Whether a session that had just been opened was lost while Django was setting it up."""
        if self.connection is None:
            return False
        facts = self.driver.facts(error) or (self.driver.facts(error.__cause__) if error.__cause__ else None)
        return facts is not None and classify_mysql(facts) in (Failure.LOST, Failure.NEVER_SENT)

    def get_new_connection(self, conn_params: Mapping[str, Any]) -> Connection:
        """Open a connection where the options want it. Raises the driver's own errors, or FailoverFailedError."""
        self.connection = None
        self.session_is_read_only = False
        self._leave_seat()
        activity, options = self._activity, self._options
        activity.inherited, self.look = False, nothing_seen
        setup = self.session_setup(conn_params)
        search = self._search = search_for(self.alias, self.settings_dict, options, self.driver, conn_params, setup)
        if search is not None:
            found = search.found()
            if isinstance(found, Refused):
                raise self._as_error(found)
            search = self._search = found
        pools = self._pools(search, conn_params)
        if search is None:
            activity.address = seed_of(self.settings_dict)
            connection, activity.address = self.open_directly(activity.address, conn_params, pools)
            return connection
        if self._extensions or pools is not None:
            search = self._search = replace(search, log_in=self.log_in, pools=pools)
        goal, self._goal = self._goal, None
        opened = search.open(conn_params, activity, after_failure=self._after_failure, goal=goal)
        self._after_failure = False
        if isinstance(opened, Refused):
            raise self._as_error(opened)
        activity.monitor = search.cluster.host_monitor if options.uses_host_monitoring else None
        self.look = self.driver.look(opened.connection)
        self._generation, self._seat, self.duty = opened.generation, opened.seat, opened.duty
        if search.cluster.dialect is not None and search.cluster.dialect.is_cluster:
            self.tell_extensions(search.cluster.view.topology)
        return opened.connection

    def session_setup(self, conn_params: Mapping[str, Any]) -> str:
        """The statement that each new session of the alias is to run, whatever it is used for; empty for none."""
        return ""

    def meet_hang_up(self) -> None:
        """Raise what `look()` has seen, while nothing has been sent: Django's error, or that of a failover."""
        with self.wrap_database_errors:
            raise self.driver.never_sent()

    def _as_error(self, refused: Refused) -> BaseException:
        error = refused.error
        if isinstance(error, MissingSetting):
            return ImproperlyConfigured(f"DATABASES[{self.alias!r}]: {error}")
        if error is not None:
            if isinstance(error, Error) or self.driver.facts(error) is not None:
                return error
            other = OperationalError(refused.reason)
            other.__cause__ = error
            return other
        failed = FailoverFailedError(f"Alias {self.alias!r}: {refused.reason}")
        failed.in_transaction = False
        return failed

    # -- staying in the right place

    @async_unsafe
    def ensure_connection(self) -> None:
        search = self._search
        if search is not None and self._generation != search.cluster.generation and self.connection is not None:
            self._reconsider(search)
        if self.connection is None:
            super().ensure_connection()

    def _reconsider(self, search: Search) -> None:
        """The cluster has changed since this connection was made: between statements, see whether it should move."""
        if self._activity.inherited:
            self._leave_to_parent()
            return
        search.cluster.go_on()
        if self.phase is not Phase.STATEMENT or self.in_atomic_block or not self.autocommit:
            return
        address, view = self._activity.address, search.cluster.view
        self.tell_extensions(view.topology)
        was, self.duty = self.duty, search.duty_at(address, view)
        if address is not None and (self.duty.differs_from(was) or search.place_of(address) is Place.WRONG):
            logger.info("alias %r leaves %s, which is not the right place any more", self.alias, address)
            self.close()
        elif time.monotonic() - self.unit_began > _LONGEST_UNIT:
            self._even_out(search)
        self._generation = view.generation

    def close_if_unusable_or_obsolete(self) -> None:
        """Called by Django before and after each request, and by Celery with each task."""
        super().close_if_unusable_or_obsolete()
        self.unit_began = time.monotonic()
        search = self._search
        if search is not None and self.connection is not None and not self.in_atomic_block and self.autocommit:
            self._even_out(search)

    def _even_out(self, search: Search) -> None:
        """Go to a reader that has less than its share, if this connection may, and nobody still reads from it."""
        address, connection = self._activity.address, self.connection
        if isinstance(connection, LostConnection) or self._activity.inherited:
            return
        if self.driver.is_out_of_step(connection):
            return
        if (goal := search.cluster.balance.goal_for(self._activity)) is not None:
            logger.info("alias %r moves from %s to %s, so that each has its share", self.alias, address, goal)
            self.close()
            self._goal = goal

    def _leave_to_parent(self) -> None:
        """The connection was made before a fork and belongs to the parent: let go of it without closing it."""
        self._activity.inherited, self.look = False, nothing_seen
        self._activity.connection = self._seat = None
        if self.in_atomic_block or not self.autocommit:
            self.connection = LostConnection(FailoverError("The process was forked inside a transaction."))
        else:
            self.connection = None

    def _drop(self, stand_in: LostConnection | None = None) -> None:
        """Get rid of a connection that is of no more use, without a word to Django's state."""
        connection, self.connection = self.connection, stand_in
        self._activity.connection, self.look = None, nothing_seen
        if connection is not None and not isinstance(connection, LostConnection):
            self.driver.close(connection)
        self._leave_seat()

    def _close(self) -> None:
        if self._activity.inherited:
            self._leave_to_parent()
        elif self.connection is not None and not isinstance(self.connection, LostConnection):
            self._activity.connection, self.look = None, nothing_seen
            self._part_with(self.connection)

    def close(self) -> None:
        if isinstance(self.connection, LostConnection) and self.in_atomic_block:
            return  # or the block would end as if nothing had happened
        super().close()

    def is_usable(self) -> bool:
        if self.connection is None or isinstance(self.connection, LostConnection):
            return False
        try:
            with InPhase(self, Phase.CHECK), self.wrap_database_errors:
                if (search := self._search) is not None:
                    # The host monitor ends a question that a silent server leaves open; without it a limit has to.
                    is_watched = self._activity.monitor is not None
                    return search.still_serves(self.connection, None if is_watched else self._options.connect_limit)
                return self.is_alive(self.connection)
        except Error:
            return False

    # -- meeting a loss

    def meet_error(self, error: BaseException, facts: ErrorFacts) -> None:
        """Called with each error of a driver call. Returns when it is the application's; raises after a loss."""
        search, phase = self._search, self.phase
        if search is None or phase in (Phase.CONNECT, Phase.CHECK) or not search.options.uses_failover:
            return
        if search.cluster.dialect is None or not search.cluster.dialect.is_cluster:
            return
        failure = classify_mysql(facts)
        if failure not in (Failure.LOST, Failure.NEVER_SENT, Failure.READ_ONLY):
            return
        if isinstance(self.connection, LostConnection):
            self.connection.raise_again()
        if self.connection is None:
            return
        if failure is Failure.READ_ONLY and not self._is_on_a_demoted_writer(search, facts):
            return
        self._meet_loss(search, failure, error, self._has_run_out_of_time(facts, failure))

    def is_to_go_on(self) -> bool:
        """Whether there is a connection, or the last one was lost; not where the application has closed one in use."""
        return self.connection is not None or self._after_failure

    def _is_on_a_demoted_writer(self, search: Search, facts: ErrorFacts) -> bool:
        """A write was refused as read-only: the application's mistake, unless this was the writer and is no more."""
        if self.duty is not Duty.WRITE:
            return False
        if is_of_the_server(facts):
            return True  # not to be asked about: it may be the writer again by now
        dialect = search.cluster.dialect
        assert dialect is not None
        try:
            return dialect.refuses_writes(
                lambda sql: self.driver.ask(self.connection, sql, self._options.connect_limit)
            )
        except self.driver_errors:
            return True

    def _has_run_out_of_time(self, facts: ErrorFacts, failure: Failure) -> bool:
        """Whether it was the application's own `read_timeout` or `write_timeout` that has ended the connection."""
        if facts.timed_out or failure is not Failure.LOST or facts.errno not in CLIENT_SIDE_LOSSES:
            return facts.timed_out
        params = self._parsed[1].driver if self._parsed is not None else {}
        has_limit = any(params.get(name) for name in ("read_timeout", "write_timeout"))
        return has_limit and not is_ended_by_peer(self.look(0))

    @property
    def ran_out_of_time(self) -> bool:
        """Whether such a time limit was how the last connection was lost."""
        return self._ran_out_at is not None

    def is_where_time_ran_out(self) -> bool:
        """Whether the present connection leads to that same server, which then was slow and not dead."""
        return self._ran_out_at == self._activity.address

    def raise_as_it_came(self, error: FailoverError) -> None:
        """Raise what Django's own backend would have raised in the place of one of ours."""
        cause = error.__cause__
        if cause is not None and (facts := self.driver.facts(cause)) is not None:
            self.wrap_database_errors.convert(cause, facts, None)

    def _meet_loss(self, search: Search, failure: Failure, cause: BaseException, ran_out: bool) -> None:
        in_transaction = self.in_atomic_block or not self.autocommit
        phase, address = self.phase, self._activity.address
        assert address is not None
        logger.warning("alias %r lost its connection to %s while %s: %s", self.alias, address, phase.value, cause)
        self.errors_occurred = True
        self._after_failure = True
        self._ran_out_at = address if ran_out else None
        certain = failure is not Failure.LOST
        if not in_transaction or phase in (Phase.ROLLBACK, Phase.END):
            self._drop(LostConnection(None) if in_transaction else None)
            search.cluster.suspect(address, str(cause))
            error = loss_error(self.alias, address, certain or phase in (Phase.BEGIN, Phase.ROLLBACK), False)
        else:
            certain = certain or phase is not Phase.COMMIT or self.is_untouched
            hooks, self.run_on_commit = self.run_on_commit, []  # of no more use, should somebody (TestCase) run them
            # Before the search, which a signal handler may interrupt: the block is lost whatever comes of it.
            self._drop(LostConnection(loss_error(self.alias, address, certain, True)))
            refused = search.find_again(address, str(cause))
            error = loss_error(self.alias, address, certain, True, None if refused is None else refused.reason)
            self.connection = LostConnection(error, hooks)
            if ran_out and certain and refused is None and search.place_of(address) is Place.RIGHT:
                return  # a slow statement on a living server, which is no failover; the block is lost all the same
        raise error from cause

    def meet_interruption(self) -> None:
        """Called with each exception in a driver call that is not the driver's: a signal handler's, or a mistake.

        Should it have come between a statement and its answer, the next statement would be given that answer.
        """
        connection, phase = self.connection, self.phase
        if connection is None or isinstance(connection, LostConnection) or phase is Phase.CONNECT:
            return
        if not self.driver.is_out_of_step(connection):
            return
        logger.warning("alias %r was interrupted while %s and gives its connection up", self.alias, phase.value)
        lost: LostConnection | None = None
        if self.in_atomic_block or not self.autocommit:
            certain = phase is not Phase.COMMIT
            lost = LostConnection(loss_error(self.alias, self._activity.address or "its server", certain, True))
        self._drop(lost)
