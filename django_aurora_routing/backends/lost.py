"""What stands in for a driver connection that died inside a transaction, and how that transaction ends."""

from __future__ import annotations

from types import FrameType
from typing import NoReturn

from django.db.transaction import Atomic

from ..errors import FailoverError


class LostConnection:
    """Raises the same error again at every use until the outermost block has ended.

    So whatever the code between swallows, the block can neither go on nor be committed. `error` is None when the
    loss was noticed by ROLLBACK, which has then done its work.
    """

    def __init__(self, error: FailoverError | None) -> None:
        self.error = error

    def raise_again(self) -> NoReturn:
        if self.error is None:
            raise FailoverError("The connection was lost, and the transaction with it.")
        again = type(self.error)(*self.error.args)
        again.in_transaction = self.error.in_transaction
        raise again from self.error

    def cursor(self) -> NoReturn:
        self.raise_again()

    def commit(self) -> NoReturn:
        self.raise_again()

    def rollback(self) -> None:
        """The server has rolled back when the connection ended."""

    def close(self) -> None:
        """There is nothing to close."""


def is_atomic_exit(frame: FrameType) -> bool:
    """Whether the caller is `Atomic.__exit__`, which has committed or rolled back before it restores autocommit."""
    return frame.f_code is Atomic.__exit__.__code__


def ends_cleanly(frame: FrameType) -> bool:
    """Whether the block that is being left raised nothing, so that a loss in it would go unnoticed.

    Read from the frame of `Atomic.__exit__`: `sys.exc_info()` is not the block's when it stands in an except clause.
    """
    return not is_atomic_exit(frame) or frame.f_locals.get("exc_type") is None
