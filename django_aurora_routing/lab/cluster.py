"""Owns the lab's public face: handles on a cluster whose supervisor is another process."""

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from . import places
from .errors import LabError
from .settings import FIRST_INSTANCE, MAX_READERS, STANDALONE, Settings

START_SECONDS = 120.0
STOP_SECONDS = 20.0
# A request that moves replication may wait for it a minute at each step.
ANSWER_SECONDS = 300.0

_Self = TypeVar("_Self", bound="_Handle")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that leads to whoever has its role."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion that happened. Times are of `time.monotonic()`; `*_at` are the same moments of `time.time()`.

    From `writable` on, the new writer accepts writes and the endpoint leads to it.
    """

    old: str
    new: str
    started: float
    writable: float
    finished: float
    started_at: float
    writable_at: float
    finished_at: float

    @property
    def seconds(self) -> float:
        return self.finished - self.started


class Instance:
    """One instance of a running cluster. Nothing is remembered here: state and role are asked for each time."""

    def __init__(self, lab: "_Handle", instance_id: str, host: str, port: int) -> None:
        self._lab = lab
        self.id = instance_id
        self.host = host
        self.port = port

    def __repr__(self) -> str:
        return f"<Instance {self.id} at {self.host}:{self.port}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instance) and (self._lab, self.id) == (other._lab, other.id)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def role(self) -> str:
        """'writer' or 'reader', as the cluster sees it; a dead writer is the writer until another is promoted."""
        return str(self._state()["role"])

    @property
    def state(self) -> str:
        """'starting', 'running', 'frozen' or 'dead'."""
        return str(self._state()["state"])

    @property
    def pid(self) -> int | None:
        """The server's process, if there is one."""
        pid: int | None = self._state()["pid"]
        return pid

    @property
    def socket_path(self) -> str:
        """The server's unix socket, past the facade."""
        return str(self._state()["socket_path"])

    @property
    def direct_port(self) -> int:
        """The server's port on 127.0.0.1, past the facade; another one after each start."""
        return int(self._state()["direct_port"])

    def kill(self) -> None:
        """SIGKILL the server. Its address refuses, and its connections are reset."""
        self._do("kill")

    def freeze(self) -> None:
        """SIGSTOP the server: clients find a host that takes their bytes and never answers."""
        self._do("freeze")

    def thaw(self) -> None:
        """Undo `freeze()`; a writer that was replaced meanwhile comes back as a reader, its old connections reset."""
        self._do("thaw")

    def revive(self) -> None:
        """Start a dead instance: as the writer if it still is, else as a reader rebuilt from the writer."""
        self._do("revive")

    def refuse(self) -> None:
        """Refuse new connections; established ones go on."""
        self._do("refuse")

    def reset(self) -> None:
        """Reset the connections there are now; new ones work."""
        self._do("reset")

    def black_hole(self) -> None:
        """Swallow every byte both ways, and every attempt to connect, as a cut cable does."""
        self._do("black_hole")

    def delay(self, seconds: float) -> None:
        """Make each way to the server, connecting too, take so much longer."""
        self._do("delay", seconds=seconds)

    def heal(self) -> None:
        """Undo refuse, black_hole and delay. What a black hole held back arrives, as it does by TCP."""
        self._do("clear")

    def delay_replication(self, seconds: int) -> None:
        """Let this reader apply each transaction so much after the writer made it; 0 ends that."""
        self._do("delay_replication", seconds=seconds)

    def report(self, *, cpu: float | None = None, lag_ms: float | None = None) -> None:
        """Set what the topology says of this instance; `lag_ms=None` lets the lab say it again."""
        self._do("report", cpu=cpu, lag_ms=lag_ms)

    def query(self, sql: str, params: Sequence[Any] = (), *, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as administrator past the facade, commit it, and return its rows."""
        import mysql.connector

        connection = mysql.connector.connect(
            unix_socket=self.socket_path,
            user="root",
            password=self._lab.root_password,
            database=database or self._lab.default_database,
            use_pure=True,
            autocommit=True,
            connection_timeout=10,
        )
        try:
            cursor = connection.cursor()
            cursor.execute(sql, tuple(params))
            return list(cursor.fetchall()) if cursor.description is not None else []
        finally:
            connection.close()

    def _state(self) -> dict[str, Any]:
        for state in self._lab.ask("status")["instances"]:
            if state["id"] == self.id:
                return dict(state)
        raise LabError(f"No instance {self.id!r} any more.")

    def _do(self, operation: str, **request: Any) -> None:
        self._lab.ask(operation, instance_id=self.id, **request)


class _Handle:
    """What a cluster and a single server have in common: a supervisor, started and owned or found by name."""

    def __init__(self, settings: Settings, say: Callable[[str], None] | None) -> None:
        self._settings = settings
        self._say = say or (lambda text: None)
        self._place = places.directory(settings.name)
        self._process: subprocess.Popen[str] | None = None
        self._owner = os.getpid()
        self._state: dict[str, Any] | None = None

    @classmethod
    def attach(cls: type[_Self], name: str) -> _Self:
        """Return a handle on a running cluster that somebody else started; stop() ends it all the same."""
        state = places.read_state(places.directory(name))
        handle = cls.__new__(cls)
        _Handle.__init__(handle, Settings.from_json(json.dumps(state["settings"])), None)
        handle._state = state
        return handle

    def __enter__(self: _Self) -> _Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the servers and return when clients may come. Raises LabError with the reason if that fails."""
        if self._state is not None:
            raise LabError(f"The cluster {self.name!r} is running already.")
        root = os.fspath(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(
            [sys.executable, "-m", "django_aurora_routing.lab.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # a Ctrl-C is for the owner, whose end is then the cluster's
        )
        self._process, self._owner = process, os.getpid()
        try:
            self._state = self._await_ready(process)
        except BaseException:
            self.stop()
            raise
        self._settings = Settings.from_json(json.dumps(self._state["settings"]))
        if self._settings.owner:
            atexit.register(self.stop)

    def stop(self) -> None:
        """End the cluster and remove all its files; nothing happens where it is gone already, or in a forked child."""
        process, self._process = self._process, None
        attached, self._state = self._state, None
        if process is None:
            if attached is not None:
                self._stop_attached(attached)
            return
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.stop)
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # its guard cleans up
            process.wait()

    def ask(self, operation: str, **request: Any) -> Any:
        """Send one request to the supervisor and return its answer. Raises LabError."""
        if self._state is None:
            raise LabError(f"The cluster {self.name!r} is not running.")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(ANSWER_SECONDS)
                sock.connect(os.fspath(places.control_path(self._place)))
                with sock.makefile("rwb") as stream:
                    stream.write(json.dumps({"op": operation, **request}).encode() + b"\n")
                    stream.flush()
                    line = stream.readline()
        except OSError as error:
            raise LabError(f"The cluster {self.name!r} does not answer: {error}") from error
        if not line:
            raise LabError(f"The cluster {self.name!r} ended.")
        answer = json.loads(line)
        if "error" in answer:
            raise LabError(answer["error"])
        return answer["value"]

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def port(self) -> int:
        return self._settings.port

    @property
    def user(self) -> str:
        return self._settings.user

    @property
    def password(self) -> str:
        return self._settings.password

    @property
    def default_database(self) -> str | None:
        return self._settings.databases[0] if self._settings.databases else None

    @property
    def root_password(self) -> str:
        if self._state is None:
            raise LabError(f"The cluster {self.name!r} is not running.")
        return str(self._state["root_password"])

    @property
    def supervisor_pid(self) -> int:
        if self._state is None:
            raise LabError(f"The cluster {self.name!r} is not running.")
        return int(self._state["pid"])

    @property
    def directory(self) -> Path:
        """Where the servers keep their data and logs while they run."""
        return self._place

    @property
    def instances(self) -> tuple[Instance, ...]:
        return tuple(self._instance(state) for state in self.ask("status")["instances"])

    def instance(self, instance_id: str) -> Instance:
        for instance in self.instances:
            if instance.id == instance_id:
                return instance
        raise LabError(f"No instance {instance_id!r}; there are {', '.join(i.id for i in self.instances)}.")

    def heal(self) -> None:
        """Bring all instances back, without a fault, the readers caught up; roles stay as they are."""
        self.ask("heal")

    def _instance(self, state: dict[str, Any]) -> Instance:
        return Instance(self, state["id"], state["host"], state["port"])

    def _await_ready(self, process: "subprocess.Popen[str]") -> dict[str, Any]:
        assert process.stdin is not None and process.stdout is not None
        overdue = threading.Timer(START_SECONDS, process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            process.stdin.write(self._settings.to_json() + "\n")
            process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "ready" in message:
                    state: dict[str, Any] = message["ready"]
                    return state
                if "error" in message:
                    raise LabError(message["error"])
                self._say(message["say"])
        except BrokenPipeError:
            pass
        finally:
            overdue.cancel()
        raise LabError(f"The lab's supervisor ended with {process.wait()} before the cluster was ready.")

    def _stop_attached(self, state: dict[str, Any]) -> None:
        self._state = state
        try:
            self.ask("stop")
        finally:
            self._state = None
        deadline = time.monotonic() + STOP_SECONDS
        while self._place.exists() and time.monotonic() < deadline:
            time.sleep(0.02)


class LocalCluster(_Handle):
    """One writer and `readers` readers, real servers, that answer an Aurora MySQL client as Aurora does.

    `port` is a free one unless given. `detached` lets the cluster live on when this process has ended, until stop() on
    a handle from `attach(name)`; otherwise it ends with this process, however that ends.
    """

    def __init__(
        self,
        readers: int = 2,
        *,
        name: str | None = None,
        databases: Sequence[str] = ("app",),
        user: str = "app",
        password: str = "app-password",
        port: int | None = None,
        max_connections: int = 2000,
        detached: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if not 0 <= readers <= MAX_READERS:
            raise LabError(f"A cluster has 0 to {MAX_READERS} readers, not {readers}.")
        settings = Settings(
            name=name or f"c{uuid.uuid4().hex[:12]}",
            ids=tuple(str(FIRST_INSTANCE + number) for number in range(1 + readers)),
            port=port or 0,
            is_cluster=True,
            user=user,
            password=password,
            databases=tuple(databases),
            max_connections=max_connections,
            owner=0 if detached else os.getpid(),
        )
        super().__init__(settings, say)

    @property
    def writer(self) -> Instance:
        """The cluster's writer, dead or alive."""
        return next(self._instance(s) for s in self.ask("status")["instances"] if s["role"] == "writer")

    @property
    def readers(self) -> tuple[Instance, ...]:
        return tuple(self._instance(s) for s in self.ask("status")["instances"] if s["role"] == "reader")

    @property
    def writer_endpoint(self) -> Endpoint:
        return Endpoint(*self._settings.writer_address)

    @property
    def reader_endpoint(self) -> Endpoint:
        return Endpoint(*self._settings.reader_address)

    @property
    def host_pattern(self) -> str:
        """What `cluster_instance_host_pattern` must be: `?` stands for an instance's id."""
        return self._settings.host_pattern

    def promote(self, instance: "Instance | str | None" = None) -> Promotion:
        """Make a reader the writer; by default the one that has most. No row that a client was told of is lost.

        With the old writer alive it is a planned switch; a frozen one is fenced and comes back, thawed, as a reader.
        """
        instance_id = instance.id if isinstance(instance, Instance) else instance
        done = self.ask("promote", instance_id=instance_id)
        offset = time.time() - time.monotonic()
        moments = {name: done[name] for name in ("started", "writable", "finished")}
        at = {f"{name}_at": moment + offset for name, moment in moments.items()}
        return Promotion(old=done["old"], new=done["new"], **moments, **at)

    def add_reader(self) -> Instance:
        """Add a reader and return it when it has all the writer had."""
        return self.instance(self.ask("add_reader"))

    def catch_up(self) -> None:
        """Return when every running reader has what the writer has now."""
        self.ask("catch_up")

    def as_dict(self) -> dict[str, Any]:
        """Everything there is to know, for printing; with the password, which is no secret in a lab."""
        return {
            "name": self.name,
            "writer_endpoint": f"{self.writer_endpoint.host}:{self.port}",
            "reader_endpoint": f"{self.reader_endpoint.host}:{self.port}",
            "host_pattern": self.host_pattern,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "databases": list(self._settings.databases),
            "directory": os.fspath(self.directory),
            **self.ask("status"),
        }


class LocalServer(_Handle):
    """One real server that is nobody's cluster, at 127.0.0.30, with the same faults and the same end."""

    def __init__(
        self,
        *,
        name: str | None = None,
        databases: Sequence[str] = ("app",),
        user: str = "app",
        password: str = "app-password",
        port: int | None = None,
        max_connections: int = 500,
        detached: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        settings = Settings(
            name=name or f"s{uuid.uuid4().hex[:12]}",
            ids=(str(STANDALONE),),
            port=port or 0,
            is_cluster=False,
            user=user,
            password=password,
            databases=tuple(databases),
            max_connections=max_connections,
            owner=0 if detached else os.getpid(),
        )
        super().__init__(settings, say)

    @property
    def host(self) -> str:
        return self._settings.host(str(STANDALONE))

    @property
    def server(self) -> Instance:
        return self.instances[0]
