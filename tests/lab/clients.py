"""Clients for the lab's tests: plain mysql.connector connections, a raw one, and a write load that counts."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import mysql.connector
from mysql.connector.connection import MySQLConnection

from django_aurora_routing.lab import LocalCluster, LocalServer


def connect(lab: LocalCluster | LocalServer, host: str, **options: Any) -> Any:
    """Return an autocommit connection of the application's user; every wait in it is bounded."""
    settings: dict[str, Any] = {
        "host": host,
        "port": lab.port,
        "user": lab.user,
        "password": lab.password,
        "database": lab.default_database,
        "autocommit": True,
        "connection_timeout": 5,
        "read_timeout": 10,
    }
    connection = MySQLConnection()
    try:
        connection.connect(**{**settings, **options})
    except BaseException:
        hang_up(connection)  # mysql.connector leaves the socket of a failed attempt open
        raise
    return connection


@contextlib.contextmanager
def connected(lab: LocalCluster | LocalServer, host: str, **options: Any) -> Iterator[Any]:
    connection = connect(lab, host, **options)
    try:
        yield connection
    finally:
        hang_up(connection)


def hang_up(connection: Any) -> None:
    """Close without a word to the server, which may be dead or frozen."""
    sock = getattr(connection._socket, "sock", None)  # shutdown() does not close a socket that is reset already
    if sock is not None:
        sock.close()


def ask(connection: Any, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    try:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description is not None else []
    finally:
        with contextlib.suppress(mysql.connector.Error):
            cursor.close()


def who_answers(lab: LocalCluster, host: str) -> str:
    with connected(lab, host) as connection:
        return str(ask(connection, "SELECT @@aurora_server_id")[0][0])


class WriteLoad:
    """Threads that insert by way of the writer endpoint and note each row the server has acknowledged."""

    def __init__(self, cluster: LocalCluster, *, threads: int = 6) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(threads)]
        self.acknowledged: list[str] = []  # append is atomic
        self.errors: list[mysql.connector.Error] = []
        self.surprises: list[BaseException] = []

    def __enter__(self) -> "WriteLoad":
        self._cluster.writer.query("DROP TABLE IF EXISTS acknowledged")
        self._cluster.writer.query("CREATE TABLE acknowledged (token VARCHAR(32) NOT NULL)")
        self._cluster.catch_up()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def wait_for_more(self, rows: int = 100, *, seconds: float = 20) -> None:
        wanted = len(self.acknowledged) + rows
        deadline = time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"no {rows} rows in {seconds} s; last errors {self.errors[-3:]}"
            time.sleep(0.005)

    def missing_and_doubled(self) -> tuple[set[str], set[str]]:
        """Acknowledged tokens that the writer has not, and tokens that it has more than once."""
        stored = [row[0] for row in self._cluster.writer.query("SELECT token FROM acknowledged")]
        doubled = {token for token in stored if stored.count(token) > 1} if len(set(stored)) < len(stored) else set()
        return set(self.acknowledged) - set(stored), doubled

    def _write(self, number: int) -> None:
        connection = None
        count = 0
        try:
            while not self._stop.is_set():
                count += 1
                token = f"{number}-{count}"  # never tried twice
                try:
                    if connection is None:
                        connection = connect(self._cluster, self._cluster.writer_endpoint.host, connection_timeout=2)
                    ask(connection, "INSERT INTO acknowledged (token) VALUES (%s)", (token,))
                    self.acknowledged.append(token)
                except mysql.connector.Error as error:
                    self.errors.append(error)
                    if connection is not None:
                        hang_up(connection)
                        connection = None
                    time.sleep(0.01)
        except BaseException as error:
            self.surprises.append(error)
            raise
        finally:
            if connection is not None:
                hang_up(connection)
