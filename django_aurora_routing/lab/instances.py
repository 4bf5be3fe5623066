"""Owns one instance as the supervisor sees it: its server, its gate, and what the cluster believes of it."""

import time
import uuid
from typing import Any, Literal

from .entrance import Entrance
from .facade import Gate
from .kinds.base import Member
from .servers import Server

State = Literal["starting", "running", "frozen", "dead"]

# After this long without a report Aurora forgets an instance; it does not say how long, this is the lab's choice.
FORGET_SECONDS = 60.0


class Instance:
    """An instance's parts and state. Changed by the conductor alone, under its lock."""

    def __init__(self, instance_id: str, *, host: str, server: Server, gate: Gate, entrance: Entrance) -> None:
        self.id = instance_id
        self.host = host
        self.server = server
        self.gate = gate
        self.entrance = entrance
        self.state: State = "starting"
        self.is_deposed = False  # was the writer, could not be told, and must not come back as it is
        self.replication_delay = 0
        self.lag_ms: float | None = None
        self.cpu: float | None = None
        self.said_state: str | None = None
        self.is_cut_off = False  # from the other members, as members that talk to each other tell it
        self.seen_at = time.monotonic()
        self.applied_until = self.seen_at  # it has all that was committed before; as a reader, as seen at `seen_at`
        self._session_id = str(uuid.uuid4())
        self._silent_since: float | None = None

    def become(self, state: State) -> None:
        self.state = state
        self._silent_since = None if state == "running" else self._silent_since or time.monotonic()

    def member(self, *, is_writer: bool, port: int) -> Member | None:
        """The instance's row of the topology, if it has one."""
        now, silent_since = time.monotonic(), self._silent_since
        is_forgotten = silent_since is not None and now - silent_since > FORGET_SECONDS and not is_writer
        if self.state == "starting" or self.is_deposed or is_forgotten:
            return None
        applied_until, seen_at = self.applied_until, self.seen_at
        lag = self.lag_ms if self.lag_ms is not None else (seen_at - applied_until) * 1000
        return Member(
            id=self.id,
            is_writer=is_writer,
            session_id=self._session_id,
            age=now - seen_at,
            lag_ms=0.0 if is_writer else max(lag, 0.0),
            cpu=10.0 if self.cpu is None else self.cpu,
            host=self.host,
            port=port,
            server_id=self.server.server_id,
            state=self.said_state or self.state,
            is_cut_off=self.is_cut_off,
        )

    def as_dict(self, *, role: str, port: int) -> dict[str, Any]:
        return {
            "id": self.id,
            "host": self.host,
            "port": port,
            "role": role,
            "state": self.state,
            "pid": self.server.pid,
            "faults": [
                name
                for name, is_on in (
                    ("refuse", self.gate.is_refusing),
                    ("black hole", self.gate.is_dark),
                    ("answers lost", self.gate.is_mute),
                    (f"delay {self.gate.delay:g} s", self.gate.delay > 0),
                    (f"replication delay {self.replication_delay} s", self.replication_delay > 0),
                )
                if is_on
            ],
            "connections": len(self.gate.links),
            "socket_path": str(self.server.socket_path),
            "direct_port": self.server.port,
        }
