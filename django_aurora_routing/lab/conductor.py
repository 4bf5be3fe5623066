"""Owns the cluster's instances and roles, and does what is asked of them one thing at a time; serves no socket."""

import errno
import itertools
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import replication
from .binaries import find_program, make_template
from .errors import LabError
from .facade import Entrance, Gate
from .instances import Instance
from .loop import Loop
from .promotion import Promoted, promote
from .rewriting import Member, Rewriter
from .servers import Accounts, Server, check_addresses, free_port
from .settings import MAX_READERS, Settings, addresses

logger = logging.getLogger(__name__)

REJOIN_SECONDS = 10.0


class Conductor:
    """A running cluster. Its public methods may be called from any thread; each holds the one lock to its end."""

    def __init__(self, settings: Settings, directory: Path, accounts: Accounts, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.directory = directory
        self.accounts = accounts
        self._say = say
        self._lock = threading.RLock()
        self._loop = Loop()
        self._instances: dict[str, Instance] = {}
        self._writer: Instance | None = None
        self._endpoints: list[Entrance] = []
        self._turn = itertools.count()
        self._server_ids = itertools.count(1)
        self._is_stopping = False

    # Beginning and end

    def start(self) -> None:
        self._program = find_program()
        self._bind()
        self._say("making the system tables")
        make_template(self._program, self.directory / "template", self.directory)
        everyone = list(self._instances.values())
        self._say(f"starting {len(everyone)} server{'s' if len(everyone) > 1 else ''}")
        for instance in everyone:
            self._start_server(instance, fresh=True)
        writer, *readers = everyone
        self._writer = writer
        _each(lambda instance: instance.server.wait_ready(), everyone)
        if readers:
            self._say("starting replication")
            _each(lambda reader: self._follow(reader, writer), readers)
            replication.wait_followed(writer.server, seconds=REJOIN_SECONDS)
        for instance in everyone:
            instance.gate.is_up = True
            instance.become("running")
        self._wait_for_readers()
        writer.server.sql("SET GLOBAL read_only = 0")
        self._loop.start()
        self._settle()

    def stop(self) -> None:
        """Kill every server. The directory is for the caller to remove."""
        self._is_stopping = True
        for instance in self._instances.values():
            instance.server.kill()

    # Questions

    def status(self) -> dict[str, Any]:
        writer = self._writer
        return {
            "instances": [
                instance.as_dict(role="writer" if instance is writer else "reader", port=self.settings.port)
                for instance in list(self._instances.values())
            ]
        }

    def server_pids(self) -> list[int]:
        return [pid for instance in list(self._instances.values()) if (pid := instance.server.pid) is not None]

    def members(self) -> Sequence[Member]:
        """The topology as a client is told now. Called on the loop's thread: reads, and takes no lock."""
        writer = self._writer
        rows = [instance.member(is_writer=instance is writer) for instance in list(self._instances.values())]
        return [row for row in rows if row is not None]

    # Faults of the machine

    def kill(self, instance_id: str) -> None:
        with self._lock:
            instance = self._get(instance_id)
            if instance.state == "dead":
                return
            if instance.state == "running":
                self._hand_over(instance)
            self._died(instance)

    def freeze(self, instance_id: str) -> None:
        with self._lock:
            instance = self._get(instance_id, "running")
            self._hand_over(instance)
            instance.server.signal(signal.SIGSTOP)
            instance.become("frozen")
            self._cover(instance)

    def thaw(self, instance_id: str) -> None:
        """Let a frozen instance go on; one that another has replaced as writer comes back as a rebuilt reader."""
        with self._lock:
            instance = self._get(instance_id, "frozen")
            if instance.is_deposed:
                self._died(instance)
                self._rebuild(instance)
                return
            instance.server.signal(signal.SIGCONT)
            instance.become("running")
            if instance is self._writer:
                self._follow_all()
            else:
                self._rejoin(instance)
            self._wait_for_readers()
            self._settle()

    def revive(self, instance_id: str) -> None:
        """Start a dead instance: the cluster's writer on its own data, any other rebuilt from the writer."""
        with self._lock:
            instance = self._get(instance_id, "dead")
            if instance is not self._writer:
                self._rebuild(instance)
                return
            self._start_server(instance, fresh=False)
            instance.server.wait_ready()
            instance.become("running")
            self._follow_all()
            self._wait_for_readers()
            instance.server.sql("SET GLOBAL read_only = 0")
            instance.gate.is_up = True
            self._settle()

    def promote(self, instance_id: str | None = None) -> Promoted:
        with self._lock:
            old = self._current_writer()
            running = [reader for reader in self._readers() if reader.state == "running"]
            target = None if instance_id is None else self._get(instance_id, "running")
            if target is old:
                raise LabError(f"Instance {old.id} is the writer already.")
            if not running:
                raise LabError("No reader is running, so none can be promoted; revive one first.")

            def publish(new: Instance) -> None:
                self._writer = new
                self._settle()

            if old.state == "frozen":
                # As a cluster fences a writer it cannot reach: the process ends, its clients still hear nothing.
                old.gate.is_held, old.gate.is_up = True, False
                self._loop.run(lambda: None)
                old.server.kill()
            done = promote(old, running, target, follow=self._follow, publish=publish)
            if old.state == "frozen":
                old.is_deposed = True
            logger.info("promoted %s after %s in %.0f ms", done.new, done.old, (done.finished - done.started) * 1000)
            return done

    def add_reader(self) -> str:
        with self._lock:
            instance_id = str(max(int(known) for known in self._instances) + 1)
            self._current_writer("running")
            if len(self._instances) > MAX_READERS:
                raise LabError(f"There is room for {MAX_READERS} readers.")
            check_addresses([self.settings.host(instance_id)])
            instance = self._add(instance_id)
            try:
                self._rebuild(instance)
            except BaseException:
                instance.server.kill()
                del self._instances[instance_id]
                self._loop.run(instance.entrance.close)
                raise
            return instance_id

    def delay_replication(self, instance_id: str, seconds: int) -> None:
        with self._lock:
            instance = self._get(instance_id, "running")
            writer = self._current_writer("running")
            if instance is writer:
                raise LabError(f"Instance {instance.id} is the writer; only a reader can lag.")
            instance.replication_delay = seconds
            self._follow(instance, writer)

    def report(self, instance_id: str, cpu: float | None, lag_ms: float | None) -> None:
        """Set what the topology says of an instance; None leaves the CPU, and gives the lag back to the lab."""
        instance = self._get(instance_id)
        instance.cpu = instance.cpu if cpu is None else cpu
        instance.lag_ms = lag_ms

    def heal(self) -> None:
        """Bring everything back: no fault on the wire, all instances running, one writer, readers caught up."""
        with self._lock:
            for instance in self._instances.values():
                self.clear(instance.id)
                self.report(instance.id, 10.0, None)
            writer_first = sorted(self._instances.values(), key=lambda instance: instance is not self._writer)
            for instance in writer_first:
                if instance.state == "frozen":
                    self.thaw(instance.id)
                elif instance.state == "dead":
                    self.revive(instance.id)
            for reader in self._readers():
                if reader.replication_delay:
                    self.delay_replication(reader.id, 0)
            self.catch_up()

    def catch_up(self) -> None:
        """Return when every running reader has what the writer has now."""
        with self._lock:
            if not self.settings.is_cluster:
                return
            position = replication.written(self._current_writer("running").server)
            running = [reader for reader in self._readers() if reader.state == "running"]
            _each(lambda reader: replication.wait_applied(reader.server, position), running)

    # Faults on the wire

    def refuse(self, instance_id: str) -> None:
        self._get(instance_id).gate.is_refusing = True
        self._settle()

    def reset(self, instance_id: str) -> None:
        self._loop.run(self._get(instance_id).gate.reset_links)

    def black_hole(self, instance_id: str) -> None:
        gate = self._get(instance_id).gate
        self._loop.run(lambda: gate.set_dark(True))
        self._settle()

    def delay(self, instance_id: str, seconds: float) -> None:
        self._get(instance_id).gate.delay = seconds

    def clear(self, instance_id: str) -> None:
        gate = self._get(instance_id).gate
        gate.is_refusing, gate.delay = False, 0.0
        self._loop.run(lambda: gate.set_dark(False))
        self._settle()

    # The parts

    def _bind(self) -> None:
        """Take all addresses before anything is started, on the port asked for or on one that all of them have free."""
        asked = self.settings.port
        hosts = addresses(self.settings.ids, is_cluster=self.settings.is_cluster)
        check_addresses(hosts)
        while True:
            self.settings = replace(self.settings, port=asked or free_port(*hosts))
            try:
                for instance_id in self.settings.ids:
                    self._add(instance_id)
                if self.settings.is_cluster:
                    for address, choose in (
                        (self.settings.writer_address, self._writer_gate),
                        (self.settings.reader_address, self._reader_gate),
                    ):
                        self._endpoints.append(Entrance(self._loop, address, choose))
                return
            except OSError as error:
                for entrance in (*self._endpoints, *(i.entrance for i in self._instances.values())):
                    entrance.close()
                self._endpoints.clear()
                self._instances.clear()
                if asked or error.errno != errno.EADDRINUSE:
                    raise LabError(f"Port {self.settings.port} cannot be had on {', '.join(hosts)}: {error}") from error

    def _get(self, instance_id: str, state: str | None = None) -> Instance:
        try:
            instance = self._instances[instance_id]
        except KeyError:
            raise LabError(f"No instance {instance_id!r}; there are {', '.join(self._instances)}.") from None
        if state is not None and instance.state != state:
            ways = {"frozen": "thaw it", "dead": "revive it"}
            hint = f"; {ways[instance.state]} first" if instance.state in ways and state == "running" else ""
            raise LabError(f"Instance {instance_id} is {instance.state}, not {state}{hint}.")
        return instance

    def _current_writer(self, state: str | None = None) -> Instance:
        if self._writer is None or not self.settings.is_cluster:
            raise LabError("This is a single server, not a cluster.")
        if state is not None and self._writer.state != state:
            raise LabError(f"The writer, {self._writer.id}, is {self._writer.state}; promote a reader or bring it back.")
        return self._writer

    def _readers(self) -> list[Instance]:
        return [instance for instance in self._instances.values() if instance is not self._writer]

    def _add(self, instance_id: str) -> Instance:
        home = self.directory / instance_id
        home.mkdir(exist_ok=True)
        server = Server(home, program=self._program, template=self.directory / "template", accounts=self.accounts)
        rewriter = Rewriter(instance_id, members=self.members) if self.settings.is_cluster else None
        gate = Gate(self._loop, str(server.socket_path), rewrite=rewriter.rewrite if rewriter else None)
        host = self.settings.host(instance_id)
        entrance = Entrance(self._loop, (host, self.settings.port), lambda: gate)
        instance = Instance(instance_id, host=host, server=server, gate=gate, entrance=entrance)
        self._instances[instance_id] = instance
        return instance

    def _start_server(self, instance: Instance, *, fresh: bool) -> None:
        """`fresh` means a new server id too: with its old one a replica skips, as its own, events it must replay."""
        server = instance.server
        server.start(
            server_id=next(self._server_ids) if fresh else server.server_id,
            max_connections=self.settings.max_connections,
            fresh=fresh,
            options=replication.OPTIONS if self.settings.is_cluster else (),
        )
        process_id = server.pid

        def ended() -> None:
            with self._lock:
                if not self._is_stopping and instance.state != "dead" and process_id == server.last_pid:
                    if not instance.gate.is_held:
                        logger.warning("the server of %s ended by itself or by an outside hand", instance.id)
                        self._died(instance)

        server.on_exit(ended)

    def _died(self, instance: Instance) -> None:
        """Take the instance down: its address refuses, the process is killed, its connections are reset."""
        instance.gate.is_up = instance.gate.is_held = False
        instance.become("dead")
        self._settle()
        instance.server.kill()
        self._loop.run(instance.gate.reset_links)
        self._cover(instance)

    def _rebuild(self, instance: Instance) -> None:
        """Bring the instance back as a reader with nothing but what the writer's binary log says.

        The log reaches back to the cluster's start, so no copy of the writer's files is needed.
        """
        writer = self._current_writer("running")
        self._start_server(instance, fresh=True)
        instance.server.wait_ready()
        instance.replication_delay = 0
        self._follow(instance, writer)
        replication.wait_applied(instance.server, replication.written(writer.server))
        instance.is_deposed = False
        instance.gate.is_up = True
        instance.become("running")
        self._wait_for_readers()
        self._settle()

    def _rejoin(self, reader: Instance) -> None:
        """Let a thawed reader follow the writer of today; rebuild it where it has what the writer never had."""
        writer = self._writer
        if writer is None or writer.state != "running":
            return
        self._follow(reader, writer)
        deadline = time.monotonic() + REJOIN_SECONDS
        while time.monotonic() < deadline:
            status = reader.server.sql("SHOW SLAVE STATUS")[0]
            if status["Slave_IO_Running"] == "Yes" and status["Slave_SQL_Running"] == "Yes":
                return
            if status["Last_IO_Errno"] == 1236 or status["Last_SQL_Errno"]:
                break
            time.sleep(0.01)
        self._died(reader)
        self._rebuild(reader)

    def _follow(self, reader: Instance, writer: Instance) -> None:
        replication.follow(
            reader.server, writer.server, password=self.accounts.replica_password, delay=reader.replication_delay
        )

    def _follow_all(self) -> None:
        writer = self._current_writer()
        _each(lambda reader: self._follow(reader, writer), [r for r in self._readers() if r.state == "running"])

    def _wait_for_readers(self) -> None:
        writer = self._writer
        if self.settings.is_cluster and writer is not None and writer.state == "running":
            has_readers = any(reader.state == "running" for reader in self._readers())
            replication.set_waiting_for_readers(writer.server, has_readers)

    def _cover(self, gone: Instance) -> None:
        """After a reader has gone: what only it had acknowledged must be with another before anything else dies."""
        writer = self._writer
        if not self.settings.is_cluster or writer is None or writer is gone or writer.state != "running":
            return
        self._wait_for_readers()
        others = [reader.server for reader in self._readers() if reader.state == "running"]
        if not others:
            return
        position = replication.sequence(replication.written(writer.server))
        deadline = time.monotonic() + REJOIN_SECONDS
        while time.monotonic() < deadline:
            if replication.sequence(replication.received(replication.most_advanced(others))) >= position:
                return
            time.sleep(0.002)
        logger.warning("no reader received %s in %.0f s", position, REJOIN_SECONDS)

    def _hand_over(self, leaving: Instance) -> None:
        """While there is no writer: before a reader goes, another fetches what only that one may have."""
        writer = self._writer
        if not self.settings.is_cluster or writer is None or writer is leaving or writer.state == "running":
            return
        others = [reader for reader in self._readers() if reader.state == "running" and reader is not leaving]
        if not others:
            return
        heir = next(reader for reader in others if reader.server is replication.most_advanced([o.server for o in others]))
        if replication.sequence(replication.received(leaving.server)) > replication.sequence(
            replication.received(heir.server)
        ):
            replication.wait_applied(leaving.server, replication.received(leaving.server))
            self._follow(heir, leaving)
            replication.wait_applied(heir.server, replication.written(leaving.server))

    def _writer_gate(self) -> Gate | None:
        return self._writer.gate if self._writer is not None else None

    def _reader_gate(self) -> Gate | None:
        """The next reader that the endpoint's DNS would name; it does not know of frozen hosts or broken wires."""
        gates = [reader.gate for reader in self._readers() if reader.gate.is_open and not reader.is_deposed]
        if gates:
            return gates[next(self._turn) % len(gates)]
        return self._writer_gate()

    def _settle(self) -> None:
        """Make every listening address fit the gates behind it."""

        def settle() -> None:
            for instance in self._instances.values():
                instance.entrance.settle(is_open=instance.gate.is_open, is_dark=instance.gate.is_dark)
            for entrance, gates in zip(self._endpoints, self._endpoint_gates(), strict=False):
                is_open = [gate for gate in gates if gate.is_open]
                entrance.settle(is_open=bool(is_open), is_dark=all(gate.is_dark for gate in is_open))

        self._loop.run(settle)

    def _endpoint_gates(self) -> tuple[list[Gate], list[Gate]]:
        writer = [self._writer.gate] if self._writer is not None else []
        readers = [reader.gate for reader in self._readers() if reader.gate.is_open and not reader.is_deposed]
        return writer, readers or writer


def _each(call: Callable[[Instance], None], instances: Sequence[Instance]) -> None:
    """Do it to all at once, and raise the first error."""
    if instances:
        with ThreadPoolExecutor(len(instances)) as pool:
            list(pool.map(call, instances))
