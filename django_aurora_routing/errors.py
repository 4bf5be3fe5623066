"""The errors this package adds to Django's: what a failover did to the statement that met it.

All are `django.db.OperationalError`s, so code that handles lost connections already handles them. Every other
database error is exactly what Django's own backend raises.
"""

from __future__ import annotations

from django.db.utils import OperationalError


class FailoverError(OperationalError):
    """Base of the three: a connection was lost (or had to be given up) and the cluster was asked for another.

    `in_transaction` tells whether that ended a transaction.
    """

    in_transaction: bool = True


class FailoverSuccessError(FailoverError):
    """What was running certainly did not happen, and there is an instance to run it on again.

    Inside `transaction.atomic()` the whole transaction was rolled back by the server: run the outermost block again.
    """


class FailoverFailedError(FailoverError):
    """No instance could be found within `failover_timeout_sec`. The message says what is known and what was tried."""


class TransactionResolutionUnknownError(FailoverError):
    """The connection was lost while the answer to a write or a COMMIT was outstanding: it may or may not have happened.

    Look before you repeat it.
    """


class PoolExhaustedError(OperationalError):
    """All sessions that OPTIONS["pool"] allows at an instance were in use, and none was given back in time."""


class LoginError(OperationalError):
    """There were no credentials to log in with, or fresh ones were refused. The message says why, and with which.

    As with the driver's own error, `args` begin with the server's error number when a server has refused them.
    """


class NoCredentialsError(LoginError):
    """There were no credentials: no server has been asked, and nothing is known of any."""
