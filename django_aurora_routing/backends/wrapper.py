"""The mixin over Django's own database wrappers: places connections, and meets their loss."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.utils import Error, OperationalError
from django.utils.functional import cached_property

from ..cluster.activity import Activity
from ..cluster.cluster import Cluster
from ..cluster.connector import Refused, Search
from ..cluster.credentials import log_in
from ..cluster.topology_monitor import MissingPattern
from ..core.failover import Place, place_of
from ..core.failures import ErrorFacts, Failure, classify_mysql
from ..core.options import FailoverMode, ParsedOptions
from ..core.secret import hidden
from ..drivers.base import Connection, Driver
from ..errors import (
    FailoverError,
    FailoverFailedError,
    FailoverSuccessError,
    TransactionResolutionUnknownError,
)
from .cursor import MAX_REPEATS, ClusterCursor, ClusterDebugCursor
from .errors import ClusterErrorWrapper
from .lost import LostConnection
from .phases import InPhase, Phase
from .read_only import ReadOnlySessionMixin
from .wiring import checked_options, cluster_known_to, search_for, seed_of

logger = logging.getLogger(__name__)


class ClusterWrapperMixin(ReadOnlySessionMixin):
    """Over a Django `DatabaseWrapper`. The engine names its driver and what that driver is connected with."""

    driver: Driver
    driver_option_names: frozenset[str]
    driver_misplaced_options: Mapping[str, str]
    driver_errors: tuple[type[BaseException], ...] = ()
    error_wrapper_class: type[ClusterErrorWrapper] = ClusterErrorWrapper

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._needs_rollback = False
        super().__init__(*args, **kwargs)
        self._search: Search | None = None
        self._activity = Activity()
        self.phase = Phase.STATEMENT
        self._generation = 0
        self._after_failure = False
        self._begun_by_atomic = False
        self._parsed: tuple[Any, ParsedOptions] | None = None

    @cached_property
    def wrap_database_errors(self) -> ClusterErrorWrapper:
        return self.error_wrapper_class(self, self._activity)

    def make_cursor(self, cursor: Any) -> ClusterCursor:
        return ClusterCursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> ClusterDebugCursor:
        return ClusterDebugCursor(cursor, self)

    @property
    def all_errors(self) -> tuple[type[BaseException], ...]:
        """Database errors as the driver raises them and as Django does."""
        return (Error, *self.driver_errors)

    def _in_phase(self, phase: Phase) -> InPhase:
        return InPhase(self, phase)

    # -- connecting

    def split_options(self, settings_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Check OPTIONS, keep ours, and return the driver's. Parsed anew only when the settings have changed."""
        options = {name: hidden(name, value) for name, value in settings_dict["OPTIONS"].items()}
        account = (settings_dict["USER"], hidden("password", settings_dict["PASSWORD"]))
        given = (options, settings_dict["HOST"], settings_dict["PORT"], *account)
        if self._parsed is None or self._parsed[0] != given:
            parsed = checked_options(self.alias, settings_dict, self.driver_option_names, self.driver_misplaced_options)
            self._parsed = (given, parsed)
        self._options = self._parsed[1].options
        return dict(self._parsed[1].driver)

    def known_cluster(self) -> Cluster | None:
        """The alias's cluster, if anybody in this process has connected to it."""
        self.split_options(self.settings_dict)
        return cluster_known_to(self.settings_dict, self._options, self.driver)

    def connect(self) -> None:
        """Connect by Django's own way, so that each switch restores all session state; again if that is cut off."""
        began = time.monotonic()
        with self._in_phase(Phase.CONNECT):
            while True:
                try:
                    return super().connect()
                except self.all_errors as exc:
                    search, address = self._search, self._activity.address
                    if search is None or address is None or not self._is_cut_off(exc):
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
        activity, options = self._activity, self._options
        activity.inherited = False
        search = self._search = search_for(self.settings_dict, options, self.driver, conn_params)
        if search is None:
            return self.open_directly(conn_params, options.connect_timeout)
        opened = search.open(conn_params, after_failure=self._after_failure)
        self._after_failure = False
        if isinstance(opened, Refused):
            raise self._as_error(opened)
        activity.address, activity.connection = opened.address, opened.connection
        activity.monitor = search.cluster.host_monitor if options.uses_host_monitoring else None
        search.cluster.watch(activity)
        self._generation = opened.generation
        return opened.connection

    def open_directly(self, conn_params: Mapping[str, Any], timeout: float) -> Connection:
        """Connect to HOST and nothing else."""
        return log_in(self.driver, seed_of(self.settings_dict), conn_params, timeout)

    def is_hung_up(self) -> bool:
        """Whether the server has already ended this connection, as far as the client's socket knows."""
        connection = self.connection
        return (
            connection is not None and not isinstance(connection, LostConnection) and self.driver.is_hung_up(connection)
        )

    def _as_error(self, refused: Refused) -> BaseException:
        error = refused.error
        if isinstance(error, MissingPattern):
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

    def ensure_connection(self) -> None:
        search = self._search
        if search is not None and self._generation != search.cluster.generation and self.connection is not None:
            self._reconsider(search)
        super().ensure_connection()

    def _reconsider(self, search: Search) -> None:
        """The cluster has changed since this connection was made: between statements, see whether it should move."""
        if self._activity.inherited:
            self._leave_to_parent()
            return
        if self.phase is not Phase.STATEMENT or self.in_atomic_block or not self.autocommit:
            return
        address, view = self._activity.address, search.cluster.view
        if address is not None and place_of(address, search.options.failover_mode, view) is Place.WRONG:
            logger.info("alias %r leaves %s, which is not the right place any more", self.alias, address)
            self.close()
        self._generation = view.generation

    def _leave_to_parent(self) -> None:
        """The connection was made before a fork and belongs to the parent: let go of it without closing it."""
        self._activity.inherited = False
        self._activity.connection = None
        if self.in_atomic_block or not self.autocommit:
            self.connection = LostConnection(FailoverError("The process was forked inside a transaction."))
        else:
            self.connection = None

    def _drop(self, stand_in: LostConnection | None = None) -> None:
        """Get rid of a connection that is of no more use, without a word to Django's state."""
        connection, self.connection = self.connection, stand_in
        self._activity.connection = None
        if connection is not None and not isinstance(connection, LostConnection):
            self.driver.close(connection)

    def _close(self) -> None:
        if self._activity.inherited:
            self._leave_to_parent()
        elif self.connection is not None and not isinstance(self.connection, LostConnection):
            self._activity.connection = None
            self.driver.close(self.connection)

    def close(self) -> None:
        if isinstance(self.connection, LostConnection) and self.in_atomic_block:
            return  # or the block would end as if nothing had happened
        super().close()

    def is_usable(self) -> bool:
        if self.connection is None or isinstance(self.connection, LostConnection):
            return False
        try:
            with self._in_phase(Phase.CHECK), self.wrap_database_errors:
                self.driver.ask(self.connection, "SELECT 1")
        except Error:
            return False
        return True

    # -- meeting a loss

    def meet_error(self, error: BaseException, facts: ErrorFacts) -> None:
        """Called with each error of a driver call. Returns when it is the application's; raises after a loss."""
        search, phase = self._search, self.phase
        if search is None or phase in (Phase.CONNECT, Phase.CHECK) or not search.options.uses_failover:
            return
        if self.connection is None or isinstance(self.connection, LostConnection):
            return
        if search.cluster.dialect is None or not search.cluster.dialect.is_cluster:
            return
        failure = classify_mysql(facts)
        if failure not in (Failure.LOST, Failure.NEVER_SENT, Failure.READ_ONLY):
            return
        if failure is Failure.READ_ONLY and not self._is_on_a_demoted_writer(search):
            return
        self._meet_loss(search, failure, error)

    def _is_on_a_demoted_writer(self, search: Search) -> bool:
        """A write was refused as read-only: the application's mistake, unless this was the writer and is no more."""
        if search.options.failover_mode is not FailoverMode.STRICT_WRITER:
            return False
        dialect = search.cluster.dialect
        assert dialect is not None
        try:
            return dialect.refuses_writes(
                lambda sql: self.driver.ask(self.connection, sql, self._options.connect_timeout)
            )
        except self.driver_errors:
            return True

    def _meet_loss(self, search: Search, failure: Failure, cause: BaseException) -> None:
        in_transaction = self.in_atomic_block or not self.autocommit
        phase, address = self.phase, self._activity.address
        assert address is not None
        logger.warning("alias %r lost its connection to %s while %s: %s", self.alias, address, phase.value, cause)
        self.errors_occurred = True
        self._after_failure = True
        certain = failure is not Failure.LOST
        if not in_transaction or phase in (Phase.ROLLBACK, Phase.END):
            self._drop(LostConnection(None) if in_transaction else None)
            search.cluster.suspect(address, str(cause))
            error = self._loss_error(address, None, certain or phase in (Phase.BEGIN, Phase.ROLLBACK), False)
        else:
            certain = certain or phase is not Phase.COMMIT
            # Before the search, which a signal handler may interrupt: the block is lost whatever comes of it.
            self._drop(LostConnection(self._loss_error(address, None, certain, True)))
            refused = search.find_again(address, str(cause))
            error = self._loss_error(address, refused, certain, True)
            self.connection = LostConnection(error)
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
            lost = LostConnection(self._loss_error(self._activity.address or "its server", None, certain, True))
        self._drop(lost)

    def _loss_error(
        self, address: object, refused: Refused | None, certain: bool, in_transaction: bool
    ) -> FailoverError:
        lost = f"Alias {self.alias!r} lost its connection to {address}"
        error: FailoverError
        if not certain:
            what = "COMMIT" if in_transaction else "a write"
            error = TransactionResolutionUnknownError(
                f"{lost} before the answer to {what} came: it may have happened or not. Look before you repeat it."
            )
        elif refused is not None:
            error = FailoverFailedError(f"{lost}, and {refused.reason}")
        elif in_transaction:
            error = FailoverSuccessError(f"{lost}: the transaction was rolled back. Run the outermost block again.")
        else:
            error = FailoverSuccessError(f"{lost} before the statement had any effect. Run it again.")
        error.in_transaction = in_transaction
        return error

    # -- transactions

    def _commit_phase(self) -> Phase:
        # A connection that is found dead now has lost its transaction for certain; after sending COMMIT one cannot say.
        return Phase.STATEMENT if self.is_hung_up() else Phase.COMMIT

    def _commit(self) -> Any:
        with self._in_phase(self._commit_phase()):
            return super()._commit()  # type: ignore[misc]

    def _rollback(self) -> Any:
        with self._in_phase(Phase.ROLLBACK):
            try:
                return super()._rollback()  # type: ignore[misc]
            except FailoverError:
                return None  # a connection that is gone has been rolled back by the server

    def rollback(self) -> None:
        super().rollback()
        if isinstance(self.connection, LostConnection) and not self._begun_by_atomic:
            # Transactions by hand (autocommit off): the next one begins on a new connection, also by hand.
            self.connection = None
            self.connect()
            self.set_autocommit(False)

    @property
    def needs_rollback(self) -> bool:
        """Django's flag, but False while a lost connection is stood in for.

        So a block that would end without an error ends by COMMIT, which raises the loss, instead of by a ROLLBACK
        that says nothing.
        """
        return self._needs_rollback and not isinstance(self.connection, LostConnection)

    @needs_rollback.setter
    def needs_rollback(self, value: bool) -> None:
        self._needs_rollback = value

    def set_autocommit(self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False) -> None:
        if isinstance(self.connection, LostConnection):
            self._leave_lost_transaction(self.connection, autocommit)
            return
        phase = self.phase
        if phase is not Phase.CONNECT:
            phase = Phase.BEGIN if self.autocommit else Phase.END if self._begun_by_atomic else self._commit_phase()
        for attempt in range(MAX_REPEATS + 1):
            try:
                with self._in_phase(phase):
                    super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)
                break
            except FailoverError as exc:
                if self.autocommit is autocommit:
                    raise  # that was done, so this comes from an on_commit() hook
                if phase is Phase.END:
                    self._end_without_connection(autocommit)
                    break
                if autocommit and isinstance(self.connection, LostConnection):
                    self._forget_lost_transaction()  # it was to end here, and who asked for that is told of the loss
                if phase is not Phase.BEGIN or isinstance(exc, FailoverFailedError) or attempt == MAX_REPEATS:
                    raise
        # Only Atomic.__enter__ asks for this, and only Atomic.__exit__ undoes it, after its COMMIT or ROLLBACK.
        self._begun_by_atomic = not autocommit and force_begin_transaction_with_broken_autocommit

    def run_and_clear_commit_hooks(self) -> None:
        with self._in_phase(Phase.STATEMENT):  # they are the application's, and what is lost in them is, too
            super().run_and_clear_commit_hooks()

    def _end_without_connection(self, autocommit: bool) -> None:
        """The block has been committed or rolled back; a connection that died after that had nothing left to do."""
        self.connection = None
        self.autocommit = autocommit
        if autocommit and self.run_commit_hooks_on_set_autocommit_on:
            self.run_and_clear_commit_hooks()
            self.run_commit_hooks_on_set_autocommit_on = False

    def _leave_lost_transaction(self, lost: LostConnection, autocommit: bool) -> None:
        if not autocommit:
            lost.raise_again()
        self._forget_lost_transaction()
        begun_by_hand, self._begun_by_atomic = not self._begun_by_atomic, False
        if begun_by_hand and lost.error is not None:
            lost.raise_again()  # to MySQL, going back to autocommit is a COMMIT

    def _forget_lost_transaction(self) -> None:
        self.connection = None
        self.autocommit = True
        self.needs_rollback = False
        self.run_on_commit = []
        self.run_commit_hooks_on_set_autocommit_on = False
