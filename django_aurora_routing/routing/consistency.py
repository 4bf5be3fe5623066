"""Aurora's own read consistency on a reader's session: its reads wait for what was committed, instead of moving.

https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-mysql-write-forwarding-consistency.html
Of the levels there, GLOBAL alone is right for us: a query waits until the reader has all that was committed anywhere
when the query began. SESSION waits for writes that this very session had forwarded; ours are made on the writer by
another one. Aurora heeds the variable only where write forwarding is on, and no SQL tells whether it is.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

GLOBAL = "GLOBAL"

_VARIABLE = "aurora_replica_read_consistency"
_KEPT_AS = "_aurora_read_consistency"  # in the wrapper: what its session is set to, where that is not the default
_UNKNOWN_VARIABLE = 1193


def ensure(connection: BaseDatabaseWrapper, level: str | None) -> None:
    """Have the connection's session read at `level` (GLOBAL), or, by None, at what the server has as its default.

    To be called before each statement: a word goes to the server only when this changes. It does not pass execute
    wrappers and is not in the log of queries. A session that takes the place of this one gets the same level at once,
    because a statement may be repeated there after a failover.

    In a transaction that has read before it comes too late: its snapshot is older. With a level set, Aurora forwards
    writes of the session to the writer; who wants them refused has to do that himself.

    Raises ImproperlyConfigured where the server knows no such variable.
    """
    if vars(connection).get(_KEPT_AS) == level:
        return
    if level is not None:
        connection.ensure_connection()
    if connection.connection is not None:
        _send(connection, level)
    vars(connection)[_KEPT_AS] = level


def _send(connection: BaseDatabaseWrapper, level: str | None) -> None:
    value = "DEFAULT" if level is None else f"'{level}'"
    if connection.vendor != "mysql":
        raise ImproperlyConfigured(_not_there(connection))
    cursor: Any = connection.make_cursor(connection.create_cursor())
    try:
        # Past the execute wrappers, one of which has called this; but not past the backend, which meets failovers.
        cursor._execute(f"SET SESSION {_VARIABLE} = {value}", None)
    except DatabaseError as error:
        if error.args[:1] == (_UNKNOWN_VARIABLE,):
            raise ImproperlyConfigured(_not_there(connection)) from error
        raise
    finally:
        cursor.close()


def _not_there(connection: BaseDatabaseWrapper) -> str:
    return (
        f"AURORA_ROUTING['PIN_POLICY'] is 'reader_session', but the server of alias {connection.alias!r} has no "
        f"{_VARIABLE}: that is for Aurora MySQL with write forwarding. Elsewhere use 'window' or 'lag'."
    )


def _set_again(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    level = vars(connection).get(_KEPT_AS)
    if level is not None:
        _send(connection, level)


connection_created.connect(_set_again, dispatch_uid=_set_again)
