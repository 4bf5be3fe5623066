"""Owns one server process: its directory, its start and end, and SQL to it as administrator over its unix socket."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .binaries import COMMON_OPTIONS, Program, run_as_root
from .errors import LabError

START_SECONDS = 60.0
_SQL_SECONDS = 90  # more than any wait that is asked of a server

# What Django and its test runner need, and nothing that writes in spite of read_only (SUPER, READ ONLY ADMIN, BINLOG
# ADMIN): a reader must refuse this user's writes.
_GRANTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, CREATE TEMPORARY TABLES, LOCK TABLES, "
    "EXECUTE, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER, PROCESS, RELOAD, SHOW DATABASES, "
    "BINLOG MONITOR, SLAVE MONITOR"
)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The users every server of a cluster has."""

    user: str
    password: str
    root_password: str
    replica_password: str
    databases: tuple[str, ...] = ()


class Server:
    """A mariadbd on its own data, tmp and socket."""

    def __init__(self, home: Path, *, program: Program, template: Path, accounts: Accounts) -> None:
        self.home = home
        self.socket_path = home / "s"  # short: macOS allows 103 characters
        self.port = 0  # for replication, and for benchmarks that go past the facade
        self.server_id = 0
        self._program = program
        self._template = template
        self._accounts = accounts
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Any = None
        self._lock = threading.RLock()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def last_pid(self) -> int | None:
        """The id of the process started last, ended or not."""
        return self._process.pid if self._process is not None else None

    def start(self, *, server_id: int, max_connections: int, fresh: bool, options: Sequence[str] = ()) -> None:
        """Start the process; `fresh` from the template, else on the data it had. Does not wait for it."""
        data, tmp = self.home / "data", self.home / "tmp"
        if fresh:
            shutil.rmtree(data, ignore_errors=True)
            shutil.copytree(self._template, data)
        # A tmpdir of its own: MariaDB servers that share one crash each other.
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir(parents=True)
        self.socket_path.unlink(missing_ok=True)
        self.server_id = server_id
        self.port = free_port("127.0.0.1")
        if fresh:
            (self.home / "init.sql").write_text(_first_sql(self._accounts))
            options = (*options, f"--init-file={self.home / 'init.sql'}")
        with open(self.home / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._program.path),
                    "--no-defaults",
                    *run_as_root(),
                    *COMMON_OPTIONS,
                    f"--datadir={data}",
                    f"--tmpdir={tmp}",
                    f"--socket={self.socket_path}",
                    f"--pid-file={self.home / 'pid'}",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    "--skip-name-resolve",
                    f"--server-id={server_id}",
                    f"--max-connections={max_connections}",
                    "--back-log=1024",
                    "--thread-cache-size=64",
                    "--ssl=0",
                    "--performance-schema=0",
                    "--character-set-server=utf8mb4",
                    "--key-buffer-size=1M",
                    "--aria-pagecache-buffer-size=1M",
                    "--sync-binlog=0",
                    "--log-warnings=1",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        """Return when the server answers. Raises LabError with the end of its log when it does not."""
        process = self._process
        assert process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise LabError(f"The server in {self.home} ended with {process.returncode}:\n{self._log_end()}")
            if self.socket_path.exists():
                try:
                    self.sql("SELECT 1")
                    return
                except LabError:
                    pass
            time.sleep(0.02)
        raise LabError(f"The server in {self.home} did not answer in {START_SECONDS:.0f} s:\n{self._log_end()}")

    def on_exit(self, call: Callable[[int], None]) -> None:
        """Run `call` with the process's id, in a thread of its own, when this process has ended."""
        process = self._process
        assert process is not None

        def wait() -> None:
            process.wait()
            call(process.pid)

        threading.Thread(target=wait, name=f"aurora-lab-wait-{process.pid}", daemon=True).start()

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has taken the process down."""
        self.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP, and wait until every thread has stopped: until then one may still answer."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            if hasattr(os, "waitid"):
                os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            else:  # macOS before Python 3.13
                time.sleep(0.05)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            # Closes the socket without a word to the server, which may be frozen. It can only fail by being closed.
            with contextlib.suppress(Exception):
                connection.shutdown()

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement as administrator and return its rows. Raises LabError."""
        import mysql.connector

        with self._lock:
            try:
                if self._connection is None:
                    self._connection = mysql.connector.connect(**self.admin_options(), autocommit=True)
                cursor = self._connection.cursor()
                try:
                    cursor.execute(statement)
                    if cursor.description is None:
                        return []
                    return [dict(zip(cursor.column_names, row, strict=True)) for row in cursor.fetchall()]
                finally:
                    cursor.close()
            except mysql.connector.Error as error:
                if not error.errno or error.errno >= 2000 or error.errno == 1927:
                    self.close()
                raise LabError(f"server {self.home.name}: {error}") from error

    def value(self, expression: str) -> Any:
        return next(iter(self.sql(f"SELECT {expression}")[0].values()))

    def admin_options(self) -> dict[str, Any]:
        """Arguments of `mysql.connector.connect` for root over the unix socket."""
        return {
            "unix_socket": os.fspath(self.socket_path),
            "user": "root",
            "password": self._accounts.root_password,
            "use_pure": True,
            # Else a promotion waits for ever on a client's LOCK TABLES.
            "init_command": "SET SESSION lock_wait_timeout = 20",
            "connection_timeout": 10,
            "read_timeout": _SQL_SECONDS,
            "write_timeout": _SQL_SECONDS,
        }

    def _log_end(self) -> str:
        try:
            return (self.home / "server.log").read_text(errors="replace")[-2000:]
        except OSError as error:
            return str(error)


def check_addresses(hosts: Sequence[str]) -> None:
    """Raise LabError, with the commands that help, where this machine does not own one of `hosts`."""
    missing = []
    for host in hosts:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            try:
                sock.bind((host, 0))
            except OSError:
                missing.append(host)
    if missing:
        commands = "; ".join(f"sudo ifconfig lo0 alias {host}" for host in missing)
        raise LabError(
            f"This machine has no address {', '.join(missing)} (Linux has all of 127.0.0.0/8, macOS only 127.0.0.1)."
            f" Until the next restart, this adds them: {commands}"
        )


def free_port(*hosts: str) -> int:
    """Return a TCP port that is free on every one of `hosts`, below the ports that clients are given at random."""
    error: OSError | None = None
    for _ in range(200):
        port = random.randrange(20000, 32000)
        try:
            for host in hosts:
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                    sock.bind((host, port))
            return port
        except OSError as caught:
            error = caught
    raise LabError(f"No free port on {', '.join(hosts)}: {error}")


def _first_sql(accounts: Accounts) -> str:
    """Statements a fresh server runs before it answers anyone; one a line. Not replicated: each server runs them."""
    user, password = _quoted(accounts.user), _quoted(accounts.password)
    lines = [
        "SET sql_log_bin = 0",
        f"ALTER USER root@localhost IDENTIFIED BY {_quoted(accounts.root_password)}",
        f"CREATE USER {user}@'%' IDENTIFIED BY {password}",
        f"GRANT {_GRANTS} ON *.* TO {user}@'%'",
        f"CREATE USER replica@'%' IDENTIFIED BY {_quoted(accounts.replica_password)}",
        "GRANT REPLICATION SLAVE, CONNECTION ADMIN ON *.* TO replica@'%'",
        *(f"CREATE DATABASE `{name.replace('`', '``')}` CHARACTER SET utf8mb4" for name in accounts.databases),
    ]
    return "".join(f"{line};\n" for line in lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
