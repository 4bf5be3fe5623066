"""Owns the client's side of a supervisor: starting it, asking it, ending it; and the handle on one instance."""

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import places
from .errors import LabError
from .settings import Settings

START_SECONDS = 120.0
STOP_SECONDS = 20.0
# A request that moves replication may wait a minute for it, at each of its steps.
ANSWER_SECONDS = 300.0
QUERY_SECONDS = 60

_Self = TypeVar("_Self", bound="Handle")
Say = Callable[[str], None]


class Instance:
    """One instance of a running cluster. Nothing is remembered here: role and state are asked for each time."""

    def __init__(self, lab: "Handle", instance_id: str, host: str, port: int) -> None:
        self._lab = lab
        self.id = instance_id
        self.host = host
        self.port = port

    def __repr__(self) -> str:
        return f"<Instance {self.id} at {self.host}:{self.port}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instance) and (self._lab.name, self.id) == (other._lab.name, other.id)

    def __hash__(self) -> int:
        return hash((self._lab.name, self.id))

    @property
    def role(self) -> str:
        """'writer' or 'reader'; a dead writer is the writer until another is promoted."""
        return str(self._status()["role"])

    @property
    def state(self) -> str:
        """'starting', 'running', 'frozen' or 'dead'."""
        return str(self._status()["state"])

    @property
    def pid(self) -> int | None:
        """The server's process, if there is one."""
        pid: int | None = self._status()["pid"]
        return pid

    @property
    def connections(self) -> int:
        """How many clients are connected by way of the facade."""
        return int(self._status()["connections"])

    @property
    def socket_path(self) -> str:
        """The server's unix socket, past the facade."""
        return str(self._status()["socket_path"])

    @property
    def direct_port(self) -> int:
        """The server's port on 127.0.0.1, past the facade; another one after each start."""
        return int(self._status()["direct_port"])

    def kill(self) -> None:
        """SIGKILL the server. Its address refuses from then on, and its connections are reset."""
        self._do("kill")

    def freeze(self) -> None:
        """SIGSTOP the server: clients find a host that takes their bytes and never answers."""
        self._do("freeze")

    def thaw(self) -> None:
        """Undo `freeze()`. A writer that was replaced meanwhile comes back as a reader, without its clients."""
        self._do("thaw")

    def revive(self) -> None:
        """Start a dead instance: as the writer if it still is, else as a reader that has what the writer has."""
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

    def lose_answers(self) -> None:
        """Bring the server what clients send, and hold its answers back: it does its work, and nobody learns of it."""
        self._do("lose_answers")

    def delay(self, seconds: float) -> None:
        """Make each way to the server, connecting too, take so much longer."""
        self._do("delay", seconds=seconds)

    def heal(self) -> None:
        """Undo refuse, black_hole, lose_answers and delay. What was held back arrives then, as it does by TCP."""
        self._do("clear")

    def delay_replication(self, seconds: int) -> None:
        """Let this reader apply each transaction so much after the writer made it; 0 ends that."""
        self._do("delay_replication", seconds=int(seconds))

    def report(
        self,
        *,
        cpu: float | None = None,
        lag_ms: float | None = None,
        state: str | None = None,
        is_cut_off: bool = False,
    ) -> None:
        """Set what the topology says of this instance; None lets the lab say it again.

        In a group, `state` is a MEMBER_STATE such as "RECOVERING", and one that `is_cut_off` sees the others
        UNREACHABLE, as they see it.
        """
        self._do("report", cpu=cpu, lag_ms=lag_ms, state=state, is_cut_off=is_cut_off)

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
            read_timeout=QUERY_SECONDS,
        )
        try:
            cursor = connection.cursor()
            cursor.execute(sql, tuple(params))
            rows: list[Any] = cursor.fetchall() if cursor.description is not None else []
            return rows
        finally:
            connection.close()

    def _status(self) -> dict[str, Any]:
        for status in self._lab.ask("status")["instances"]:
            if status["id"] == self.id:
                return dict(status)
        raise LabError(f"There is no instance {self.id!r} any more.")

    def _do(self, operation: str, **request: Any) -> None:
        self._lab.ask(operation, instance_id=self.id, **request)


class Handle:
    """A supervisor that this process started, or found by name."""

    def __init__(self, settings: Settings, say: Say | None) -> None:
        self._asked = self._settings = settings
        self._say = say or (lambda text: None)
        self._place = places.directory(settings.name)
        self._process: subprocess.Popen[str] | None = None
        self._owner = os.getpid()
        self._state: dict[str, Any] | None = None

    @classmethod
    def attach(cls: type[_Self], name: str) -> _Self:
        """Return a handle on a running cluster that somebody else started. Its stop() ends that cluster."""
        state = places.read_state(places.directory(name))
        handle = cls.__new__(cls)
        Handle.__init__(handle, Settings.from_json(json.dumps(state["settings"])), None)
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
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "django_aurora_routing.lab.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # a Ctrl-C is for the owner, whose end is then the cluster's
        )
        try:
            self._state = self._await_ready(self._process)
        except BaseException:
            self.stop()
            raise
        self._settings = Settings.from_json(json.dumps(self._state["settings"]))
        if self._settings.owner:
            atexit.register(self.stop)

    def stop(self) -> None:
        """End the cluster and remove its files. Does nothing where it is gone, or in a forked child of its owner."""
        process, self._process = self._process, None
        state, self._state = self._state, None
        if process is None:
            if state is not None:
                self._stop_another(state)
        elif os.getpid() == self._owner:
            atexit.unregister(self.stop)
            self._stop_own(process)

    def ask(self, operation: str, **request: Any) -> Any:
        """Send one request to the supervisor and return its answer. Raises LabError."""
        self._running()
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
        """Of the administrator, who can come in by the unix sockets and the facade."""
        return str(self._running()["root_password"])

    @property
    def supervisor_pid(self) -> int:
        return int(self._running()["pid"])

    @property
    def directory(self) -> Path:
        """Where the servers keep their data and logs while they run."""
        return self._place

    @property
    def instances(self) -> tuple[Instance, ...]:
        return self._instances()

    def instance(self, instance_id: str) -> Instance:
        instances = self.instances
        for instance in instances:
            if instance.id == instance_id:
                return instance
        known = ", ".join(instance.id for instance in instances)
        raise LabError(f"No instance {instance_id!r}; there are {known}.")

    def heal(self) -> None:
        """Bring all instances back, without a fault, the readers caught up. Roles stay as they are."""
        self.ask("heal")

    def as_dict(self) -> dict[str, Any]:
        """All there is to know, for printing; with the user's password, which is no secret in a lab."""
        return {
            "name": self.name,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "databases": list(self._settings.databases),
            "directory": os.fspath(self.directory),
            "supervisor_pid": self.supervisor_pid,
            **self.ask("status"),
        }

    def _instances(self, role: str | None = None) -> tuple[Instance, ...]:
        return tuple(
            Instance(self, status["id"], status["host"], status["port"])
            for status in self.ask("status")["instances"]
            if role in (None, status["role"])
        )

    def _running(self) -> dict[str, Any]:
        if self._state is None:
            raise LabError(f"The cluster {self.name!r} is not running; call start() or use `with`.")
        return self._state

    def _await_ready(self, process: "subprocess.Popen[str]") -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        overdue = threading.Timer(START_SECONDS, process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            process.stdin.write(self._asked.to_json() + "\n")
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
            pass  # it has ended; said below
        finally:
            overdue.cancel()
        raise LabError(f"The lab's supervisor ended with {process.wait()} before the cluster was ready.")

    def _stop_own(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # its guard cleans up
            process.wait()

    def _stop_another(self, state: dict[str, Any]) -> None:
        self._state = state
        try:
            self.ask("stop")
        finally:
            self._state = None
        deadline = time.monotonic() + STOP_SECONDS
        while self._place.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
