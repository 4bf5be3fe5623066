"""Which database server is behind an alias just now, asked of the server itself."""

from __future__ import annotations

from django.db import connections


def instance_name(alias: str) -> str:
    """The instance that answers on `alias` in this thread: Aurora's name for it, else the server's host name.

    On a database that has no servers (SQLite) it is the alias.
    """
    connection = connections[alias]
    if connection.vendor != "mysql":
        return alias
    with connection.cursor() as cursor:
        # SHOW, since SELECT @@aurora_server_id is an error on a server that is not Aurora.
        cursor.execute("SHOW VARIABLES WHERE Variable_name IN ('aurora_server_id', 'hostname')")
        names = dict(cursor.fetchall())
    return str(names.get("aurora_server_id") or names.get("hostname") or alias)
