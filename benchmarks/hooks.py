"""What our hooks cost a statement that succeeds: nanoseconds, beside Django's own classes over the same cursor.

`python -m benchmarks.hooks [--quick]`. The cursor does nothing, so what is timed is Python, from `connection.cursor()`
to the driver. Ours are connected to the lab's cluster: its monitors are at work, and there is a socket to look at.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import django
from django.conf import settings
from django.db import connections, transaction

from django_aurora_routing import release_resources
from django_aurora_routing.lab import LocalCluster

from ._contenders import OURS, OURS_MYSQLCLIENT, Contender, cluster_database, installed
from ._tables import print_table
from ._timing import timed
from .queries import quieten

READ = "SELECT `shop`.`id`, `shop`.`name` FROM `shop` WHERE `shop`.`id` = %s LIMIT 21"
WRITE = "UPDATE `shop` SET `name` = %s WHERE `shop`.`id` = %s"
CALLS = 500

Run = Callable[[Any], Callable[[], object]]
"""Makes, of a connection, what is timed."""


class IdleCursor:
    """A driver's cursor that sends nothing and finds one row."""

    rowcount = 1

    def __init__(self, connection: object) -> None:
        self.connection = connection

    def execute(self, query: str, args: Any = None) -> int:
        return 1

    def fetchone(self) -> tuple[int]:
        return (1,)

    def close(self) -> None:
        pass


class IdleConnection:
    """A driver's connection, for Django's own classes."""

    def cursor(self) -> IdleCursor:
        return IdleCursor(self)


def main() -> None:
    """Start a cluster, connect our engines to it, and print two tables for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    rounds = 40 if parser.parse_args().quick else 400
    quieten()
    contenders = installed(OURS, OURS_MYSQLCLIENT)
    with LocalCluster(readers=1) as cluster:
        databases = {contender.key: cluster_database(contender, cluster) for contender in contenders}
        settings.configure(DATABASES={"default": {}, **databases})
        django.setup()
        connections.settings["stock"] = {**connections.settings["default"]}
        connections["stock"] = stock()
        try:
            for contender in contenders:
                report(contender, rounds)
        finally:
            release_resources()


def stock() -> Any:
    """Django's own wrapper for MySQL, as if connected."""
    base = importlib.import_module(f"{OURS.engine}.base")
    wrapper = base.DjangoDatabaseWrapper(connections.settings["stock"], "stock")
    wrapper.connection = idle(IdleConnection())
    wrapper.autocommit = True
    return wrapper


def ours(contender: Contender) -> Any:
    """One of our wrappers, connected, whose cursors and transactions send nothing from now on."""
    wrapper = connections[contender.key]
    wrapper.ensure_connection()
    idle(wrapper.connection)
    if contender is OURS_MYSQLCLIENT:
        wrapper.connection.cursorclass = IdleCursor
    else:
        vars(importlib.import_module(f"{OURS.engine}.base"))["Cursor"] = IdleCursor
    return wrapper


def idle(connection: Any) -> Any:
    connection.commit = connection.rollback = lambda: None
    connection.autocommit = connection.cmd_query = lambda what: None
    return connection


def statements() -> Mapping[str, Run]:
    def read(connection: Any) -> Callable[[], object]:
        def call() -> None:
            with connection.cursor() as cursor:
                cursor.execute(READ, (1,))
                cursor.fetchone()

        return call

    def write(connection: Any) -> Callable[[], object]:
        def call() -> None:
            with connection.cursor() as cursor:
                cursor.execute(WRITE, ("Lamp", 1))

        return call

    return {"SELECT, one row": read, "UPDATE": write}


def parts() -> Mapping[str, Run]:
    def execute(sql: str) -> Run:
        def made(connection: Any) -> Callable[[], object]:
            run, params = connection.cursor().execute, (1,)
            return lambda: run(sql, params)

        return made

    def fetchone(connection: Any) -> Callable[[], object]:
        cursor = connection.cursor()
        return lambda: cursor.fetchone()

    return {
        "cursor()": lambda connection: connection.cursor,
        "execute() of a SELECT": execute(READ),
        "execute() of an UPDATE": execute(WRITE),
        "fetchone()": fetchone,
    }


def block(connection: Any) -> Callable[[], object]:
    """A transaction without a statement."""

    def call() -> None:
        with transaction.atomic(using=connection.alias):
            pass

    return call


def report(contender: Contender, rounds: int) -> None:
    wrappers = {"stock": connections["stock"], "ours": ours(contender)}

    def row(title: str, run: Run) -> list[str]:
        times = timed({name: run(wrapper) for name, wrapper in wrappers.items()}, rounds=rounds, calls=CALLS)
        before, after = times["stock"].nanoseconds, times["ours"].nanoseconds
        return [title, f"{before:.0f}", f"{after:.0f}", f"{after - before:+.0f}"]

    columns = ["Django's", "ours", "added"]
    for title, runs in (("A statement, cursor and all", statements()), ("Of which", parts())):
        rows = [row(name, run) for name, run in runs.items()]
        for wrapper in wrappers.values():
            wrapper.in_atomic_block = True
        rows += [row(f"{name}, in atomic()", run) for name, run in runs.items() if not name.endswith("()")]
        for wrapper in wrappers.values():
            wrapper.in_atomic_block = False
        print_table(f"{contender.title}: {title.lower()}, nanoseconds", columns, rows)
    print_table(f"{contender.title}: a transaction, nanoseconds", columns, [row("atomic(), empty", block)])


if __name__ == "__main__":
    main()
