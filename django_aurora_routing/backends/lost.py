"""What stands in for a driver connection that died inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import FailoverError


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
