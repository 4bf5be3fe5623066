"""What an error of a driver means for the connection: a table of codes for each kind of server, no reaction."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Failure(enum.Enum):
    """Why a statement or a connect failed, as far as the connection is concerned."""

    LOST = "connection lost"
    NEVER_SENT = "connection found dead before the statement was sent"
    READ_ONLY = "write refused by a read-only server"
    UNREACHABLE = "server could not be reached"
    BUSY = "server takes no more connections"
    REFUSED = "login refused"
    NO_CREDENTIALS = "nothing to log in with"
    STATEMENT = "an error of the statement itself"


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What a driver's exception tells. `errno` is None when the driver gave none."""

    errno: int | None
    message: str
    sqlstate: str | None = None
    timed_out: bool = False


# Client library: https://dev.mysql.com/doc/mysql-errors/8.4/en/client-error-reference.html
# -1 is Connector/Python's "MySQL Connection not available": it looked before it sent anything.
_NEVER_SENT = frozenset({-1})
TLS_ERROR = 2026  # CR_SSL_CONNECTION_ERROR
_LOST = frozenset(
    {
        2006,  # CR_SERVER_GONE_ERROR
        2012,  # CR_SERVER_HANDSHAKE_ERR
        2013,  # CR_SERVER_LOST
        TLS_ERROR,  # after the handshake, a connection lost over TLS
        2027,  # CR_MALFORMED_PACKET
        2055,  # CR_SERVER_LOST_EXTENDED
        1053,  # ER_SERVER_SHUTDOWN
        1077,  # ER_NORMAL_SHUTDOWN
        1079,  # ER_SHUTDOWN_COMPLETE
        1080,  # ER_FORCING_CLOSE
        1152,  # ER_ABORTING_CONNECTION
        1158,  # ER_NET_READ_ERROR_FROM_PIPE .. 1161 ER_NET_WRITE_INTERRUPTED
        1159,
        1160,
        1161,
        1184,  # ER_NEW_ABORTING_CONNECTION
        1927,  # ER_CONNECTION_KILLED (MariaDB)
        3169,  # ER_SESSION_WAS_KILLED
        4031,  # ER_CLIENT_INTERACTION_TIMEOUT (MySQL 8.0.24+, wait_timeout)
    }
)
CLIENT_SIDE_LOSSES = frozenset({2006, 2013, 2026, 2055})
"""Of these, what the client's library says when it gives a connection up, whoever has ended it."""
_UNREACHABLE = frozenset({2001, 2002, 2003, 2004, 2005, 2012, 2013, 2055, 1042, 1053, 1077, 1079, 1152, 1158, 1159})
_BUSY = frozenset({1040, 1203, 1226, 1129})
_REFUSED_LOGIN = frozenset({1044, 1045, 1049, 1130, 1251, 1275, 1698, 1862, 2049, 2059, 2061, 3118, 3159})
_ACCESS_DENIED = frozenset({1045, 1698})
# ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR
_FORBIDDEN = frozenset({1142, 1143, 1227})
_SERVER_READ_ONLY = frozenset(
    {
        1290,  # ER_OPTION_PREVENTS_STATEMENT: --read-only, --super-read-only (and unrelated options: see below)
        1836,  # ER_READ_ONLY_MODE
    }
)
_READ_ONLY = _SERVER_READ_ONLY | {1792}  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
# 2026 while connecting: a certificate that will not do, or a handshake that was cut off.
_CERTIFICATE_TEXT = re.compile(r"certificate|verif|hostname|unsupported protocol|no shared cipher", re.IGNORECASE)
_PYTHONS_CERTIFICATE_TEXT = "CERTIFICATE_VERIFY_FAILED"  # of its ssl module, which the connector passes on as 2055
_READ_ONLY_TEXT = re.compile(r"read[-_ ]only", re.IGNORECASE)


def classify_mysql(facts: ErrorFacts, *, connecting: bool = False) -> Failure:
    """Say what an error means. By number, never by exception class: drivers disagree on the classes.

    `connecting` says that the error came while a connection was being made, when 2013 is a server that could not be
    reached, and 2026 that too unless it speaks of a certificate.
    """
    errno = facts.errno
    if connecting:
        if errno in _REFUSED_LOGIN or (errno == TLS_ERROR and _CERTIFICATE_TEXT.search(facts.message)):
            return Failure.REFUSED
        if errno == 2055 and _PYTHONS_CERTIFICATE_TEXT in facts.message:
            return Failure.REFUSED
        if errno in _BUSY:
            return Failure.BUSY
        if facts.timed_out or errno in _UNREACHABLE or errno in _LOST or errno in _NEVER_SENT:
            return Failure.UNREACHABLE
        return Failure.STATEMENT
    if errno in _NEVER_SENT:
        return Failure.NEVER_SENT
    if facts.timed_out or errno in _LOST:
        return Failure.LOST
    if errno in _READ_ONLY and (errno != 1290 or _READ_ONLY_TEXT.search(facts.message)):
        return Failure.READ_ONLY
    return Failure.STATEMENT


def is_access_denied(facts: ErrorFacts) -> bool:
    """Whether a login was refused for its user and password, which another password may mend."""
    return facts.errno in _ACCESS_DENIED


def is_forbidden(facts: ErrorFacts) -> bool:
    """Whether a statement was refused for a right that the account does not have."""
    return facts.errno in _FORBIDDEN


def is_of_the_server(facts: ErrorFacts) -> bool:
    """Of a write that was refused as read-only: whether by what the server is, and not by what a transaction is."""
    return facts.errno in _SERVER_READ_ONLY


# PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html. The first two characters are the class; of
# some classes single codes mean something of their own, and come first.
_SQLSTATES: dict[str, Failure] = {
    "08004": Failure.BUSY,  # the server rejected the connection
    "53300": Failure.BUSY,  # too_many_connections
    "57P03": Failure.BUSY,  # cannot_connect_now: it starts up, shuts down, or recovers
    "57P01": Failure.LOST,  # admin_shutdown
    "57P02": Failure.LOST,  # crash_shutdown
    "57P05": Failure.LOST,  # idle_session_timeout
    "25P03": Failure.LOST,  # idle_in_transaction_session_timeout
    "25P04": Failure.LOST,  # transaction_timeout
    "25006": Failure.READ_ONLY,  # read_only_sql_transaction, on a standby too
    "08": Failure.LOST,  # connection_exception
    "28": Failure.REFUSED,  # invalid_authorization_specification
    "3D": Failure.REFUSED,  # invalid_catalog_name: no such database
}
_TROUBLE_OF_A_SERVER = ("53", "58", "F0", "XX")  # resources, input and output, configuration, corrupted data
_FATAL = ("FATAL", "PANIC")


def classify_postgresql(sqlstate: str | None, severity: str | None = None, *, connecting: bool = False) -> Failure:
    """Say what an error of PostgreSQL means. Without an SQLSTATE it is the driver's own, who has had no answer.

    `severity` is the one that is not translated (field V of the error). FATAL and PANIC end the session whatever the
    code; with ERROR the session goes on, also where the server is short of memory or cannot read a page.
    """
    if sqlstate is None:
        return Failure.UNREACHABLE if connecting else Failure.LOST
    found = _SQLSTATES.get(sqlstate, _SQLSTATES.get(sqlstate[:2], Failure.STATEMENT))
    if connecting:
        is_in_trouble = found is Failure.LOST or (sqlstate[:2] in _TROUBLE_OF_A_SERVER and found is Failure.STATEMENT)
        return Failure.UNREACHABLE if is_in_trouble else found
    if severity in _FATAL:
        return Failure.LOST
    return Failure.STATEMENT if found in (Failure.REFUSED, Failure.BUSY) else found
