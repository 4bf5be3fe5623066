"""Owns the measuring of replication: up to which moment's commits each reader has everything. It changes nothing."""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .instances import Instance
from .replication import sequence

logger = logging.getLogger(__name__)

RESTING, WATCHED = 0.5, 0.01  # seconds between two looks
_WATCHED_FOR = 0.5
_ANSWER_SECONDS = 1
_REMEMBERED = 20_000


class Progress:
    """Looks at all running servers' positions, twice a second, and all the time while somebody asks for what it finds.

    The lag is found by measuring: the writer's position at a moment, and when a reader has come to it.
    """

    def __init__(self, instances: Callable[[], Sequence[Instance]], writer: Callable[[], Instance | None]) -> None:
        self._instances = instances
        self._writer = writer
        self._of: Instance | None = None
        self._written: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)  # a position, and when it last was the last
        self._connections: dict[str, tuple[int | None, Any]] = {}
        self._measuring = threading.Lock()
        self._woken = threading.Event()
        self._watched_until = 0.0

    def start(self) -> None:
        threading.Thread(target=self._run, name="aurora-lab-progress", daemon=True).start()

    def watch(self) -> None:
        """Look more often for a while. From any thread; takes no lock."""
        now = time.monotonic()
        is_at_rest, self._watched_until = now >= self._watched_until, now + _WATCHED_FOR
        if is_at_rest:
            self._woken.set()

    def shows(self, instance: Instance, moment: float) -> bool:
        """Whether the instance certainly has all that was committed before `moment`. Have it looked at if not."""
        if instance is self._writer() or instance.applied_until >= moment:
            return True
        self.watch()
        return False

    def measure(self) -> None:
        """Look at every running instance once."""
        with self._measuring:
            writer = self._writer()
            if writer is not self._of:
                self._of = writer
                self._written.clear()  # what the old one alone had may never have been
            if writer is not None:
                self._look_at_writer(writer)
            for instance in self._instances():
                if instance is not writer:
                    self._look_at_reader(instance)

    def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                self.measure()
            except Exception:
                logger.exception("could not measure the replication")
            if time.monotonic() < self._watched_until:
                time.sleep(WATCHED)
            else:
                self._woken.wait(RESTING)

    def _look_at_writer(self, writer: Instance) -> None:
        asked_at = time.monotonic()
        position = self._position(writer, "gtid_binlog_pos")
        if position is None:
            return
        # Whatever was committed before the question is in the answer.
        if self._written and self._written[-1][0] == position:
            self._written.pop()
        self._written.append((position, asked_at))
        writer.applied_until = writer.seen_at = asked_at

    def _look_at_reader(self, reader: Instance) -> None:
        asked_at = time.monotonic()
        applied = self._position(reader, "gtid_slave_pos")
        if applied is None:
            return
        until = next((at for position, at in reversed(self._written) if position <= applied), reader.applied_until)
        reader.applied_until, reader.seen_at = until, asked_at

    def _position(self, instance: Instance, variable: str) -> int | None:
        # A connection that was kept may have been cut since; a new one tells.
        for _ in range(2 if instance.id in self._connections else 1):
            if instance.state != "running":
                return None
            pid, connection = self._connections.get(instance.id, (None, None))
            try:
                if connection is None or pid != instance.server.pid:
                    self._forget(instance)
                    pid, connection = self._connections[instance.id] = (instance.server.pid, self._connect(instance))
                connection.cmd_query(f"SELECT @@{variable}")
                ((text,),), _ = connection.get_rows()
                return sequence(str(text))
            except Exception as error:  # noqa: BLE001 - a server that ends in this moment raises all sorts of things
                logger.debug("%s does not tell its position: %s", instance.id, error)
                self._forget(instance)
        return None

    @staticmethod
    def _connect(instance: Instance) -> Any:
        import mysql.connector

        options = {**instance.server.admin_options(), "read_timeout": _ANSWER_SECONDS}
        return mysql.connector.connect(**{**options, "connection_timeout": _ANSWER_SECONDS}, autocommit=True)

    def _forget(self, instance: Instance) -> None:
        _, connection = self._connections.pop(instance.id, (None, None))
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.shutdown()
