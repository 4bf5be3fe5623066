"""Transactions: a loss ends the whole outermost block, and leaves nothing of it in Django's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..drivers.base import Look
from ..errors import FailoverError, FailoverFailedError
from .cursor import MAX_REPEATS
from .lost import LostConnection
from .phases import InPhase, Phase

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as _Base
else:
    _Base = object


class TransactionsMixin(_Base):
    """Over a Django `DatabaseWrapper`."""

    phase: Phase
    look: Look
    _drop: Any
    _needs_rollback = False
    _is_to_be_rolled_back = False
    _begun_by_atomic = False
    is_untouched = False
    """Whether nothing has been run yet in a transaction that atomic() has begun."""

    def _commit_phase(self) -> Phase:
        # A connection that is found dead now has lost its transaction for certain; after sending COMMIT one cannot say.
        return Phase.STATEMENT if self.look(0) else Phase.COMMIT

    def _commit(self) -> Any:
        # Here and below without `InPhase`, which costs more than all else that a transaction does in here.
        before, self.phase = self.phase, self._commit_phase()
        try:
            return super()._commit()  # type: ignore[misc]
        finally:
            self.phase = before

    def _rollback(self) -> Any:
        with InPhase(self, Phase.ROLLBACK):
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
        that says nothing. Unless the application has asked for that: it is promised nothing that is not so.
        """
        if isinstance(self.connection, LostConnection):
            return self._is_to_be_rolled_back
        return self._needs_rollback

    @needs_rollback.setter
    def needs_rollback(self, value: bool) -> None:
        self._needs_rollback = value
        if not value:
            self._is_to_be_rolled_back = False

    def set_rollback(self, rollback: bool) -> None:
        """What applications ask for; where Django itself finds a block broken, it sets `needs_rollback`."""
        super().set_rollback(rollback)
        self._is_to_be_rolled_back = rollback

    def set_autocommit(self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False) -> None:
        if isinstance(self.connection, LostConnection):
            self._leave_lost_transaction(self.connection, autocommit)
            return
        phase = before = self.phase
        if phase is not Phase.CONNECT:
            phase = Phase.BEGIN if self.autocommit else Phase.END if self._begun_by_atomic else self._commit_phase()
        for attempt in range(MAX_REPEATS + 1):
            try:
                self.phase = phase
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
            finally:
                self.phase = before
        # Only Atomic.__enter__ asks for this, and only Atomic.__exit__ undoes it, after its COMMIT or ROLLBACK.
        self._begun_by_atomic = not autocommit and force_begin_transaction_with_broken_autocommit
        self.is_untouched = self._begun_by_atomic

    def begin_again(self) -> None:
        """Begin a transaction anew, on a new connection, that was lost before it had done anything."""
        lost = self.connection
        assert isinstance(lost, LostConnection)
        savepoint_ids, atomic_blocks = self.savepoint_ids, self.atomic_blocks
        self.connection, self.autocommit, self.in_atomic_block = None, True, False
        try:
            self.connect()
            self.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
            self.run_on_commit = [*lost.hooks]
        except BaseException as exc:
            self._drop(LostConnection(exc) if isinstance(exc, FailoverError) else lost)
            self.autocommit, self._begun_by_atomic = False, True
            if isinstance(exc, FailoverError):
                exc.in_transaction = True
            raise
        finally:
            self.in_atomic_block, self.savepoint_ids, self.atomic_blocks = True, savepoint_ids, atomic_blocks

    def run_and_clear_commit_hooks(self) -> None:
        before, self.phase = self.phase, Phase.STATEMENT  # what is lost in the application's hooks is its own
        try:
            super().run_and_clear_commit_hooks()
        finally:
            self.phase = before

    def _end_without_connection(self, autocommit: bool) -> None:
        """The block has been committed or rolled back; a connection that died after that had nothing left to do."""
        self.connection = None
        self.autocommit, self.is_untouched = autocommit, False
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
        self.autocommit, self.is_untouched = True, False
        self.needs_rollback = False
        self.run_on_commit = []
        self.run_commit_hooks_on_set_autocommit_on = False
