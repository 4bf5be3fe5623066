"""What the application is told of a lost connection, and what stands in for one that died inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import (
    FailoverError,
    FailoverFailedError,
    FailoverSuccessError,
    TransactionResolutionUnknownError,
)


def loss_error(
    alias: str, address: object, certain: bool, in_transaction: bool, failed: str | None = None
) -> FailoverError:
    """The error for a loss at `address`.

    `certain` says that nothing has happened, `failed` why there is no instance to go on with.
    """
    lost = f"Alias {alias!r} lost its connection to {address}"
    error: FailoverError
    if not certain:
        what = "COMMIT" if in_transaction else "a write"
        error = TransactionResolutionUnknownError(
            f"{lost} before the answer to {what} came: it may have happened or not. Look before you repeat it."
        )
    elif failed is not None:
        error = FailoverFailedError(f"{lost}, and {failed}")
    elif in_transaction:
        error = FailoverSuccessError(f"{lost}: the transaction was rolled back. Run the outermost block again.")
    else:
        error = FailoverSuccessError(f"{lost} before the statement had any effect. Run it again.")
    error.in_transaction = in_transaction
    return error


class LostConnection:
    """Raises the same error again at every use until the outermost block has ended.

    So whatever the code between swallows, the block can neither go on nor be committed. `error` is None when the
    loss was noticed by ROLLBACK, which has then done its work. `hooks` are those that COMMIT would have run.
    """

    def __init__(self, error: FailoverError | None, hooks: Sequence[Any] = ()) -> None:
        self.error = error
        self.hooks = hooks

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
