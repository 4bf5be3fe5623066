"""Owns the instances, who of them is the writer, their addresses, and the steps that operations are made of."""

import errno
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from . import replication
from .binaries import Program, make_template
from .entrance import Entrance
from .errors import LabError
from .facade import Gate
from .instances import Instance
from .kinds import find_kind
from .kinds.base import Member
from .loop import Loop
from .progress import Progress
from .servers import Accounts, Server, check_addresses, free_port
from .settings import Settings, addresses

logger = logging.getLogger(__name__)

REJOIN_SECONDS = 10.0


class Ensemble:
    """The running servers. Not safe for threads but for `members` and `stop`; the conductor holds a lock."""

    def __init__(self, settings: Settings, directory: Path, accounts: Accounts, program: Program) -> None:
        self.settings = settings
        self.kind = find_kind(settings.kind)
        self.directory = directory
        self.loop = Loop()
        self.instances: dict[str, Instance] = {}
        self.writer: Instance | None = None
        self.stale: Instance | None = None  # where the writer endpoint leads while its name is out of date
        self._progress = Progress(lambda: list(self.instances.values()), lambda: self.writer)
        self._accounts = accounts
        self._program = program
        self._endpoints: list[Entrance] = []
        self._turn = itertools.count()
        self._server_ids = itertools.count(1)
        self._spawning = threading.Lock()
        self._is_stopping = False

    # Beginning and end

    def start(self, say: Callable[[str], None], on_exit: Callable[[Instance, int], None]) -> None:
        self._on_exit = on_exit
        self._bind()
        say("making the system tables")
        make_template(self._program, self.directory / "template", self.directory)
        writer, *readers = everyone = list(self.instances.values())
        say(f"starting {len(everyone)} server{'s' if readers else ''}")
        for instance in everyone:
            self.start_server(instance, fresh=True)
        self.writer = writer
        each(lambda instance: instance.server.wait_ready(), everyone)
        if readers:
            say("starting replication")
            each(lambda reader: self.follow(reader, writer), readers)
            replication.wait_followed(writer.server, seconds=REJOIN_SECONDS)
        for instance in everyone:
            instance.gate.is_up = True
            instance.become("running")
        self.wait_for_readers()
        writer.server.sql("SET GLOBAL read_only = 0")
        self.loop.start()
        self.settle()
        if self.settings.is_cluster:
            self._progress.start()

    def stop(self) -> None:
        """Kill every server and start no more. The directory is for the caller to remove."""
        with self._spawning:
            self._is_stopping = True
        for instance in list(self.instances.values()):
            instance.server.kill()

    def _bind(self) -> None:
        """Take all addresses first, on the port asked for or on one that all of them have free."""
        asked = self.settings.port
        hosts = addresses(self.settings.ids, is_cluster=self.settings.is_cluster)
        check_addresses(hosts)
        while True:
            self.settings = replace(self.settings, port=asked or free_port(*hosts))
            try:
                for instance_id in self.settings.ids:
                    self.add(instance_id)
                if self.settings.is_cluster:
                    for address, choose in (
                        (self.settings.writer_address, self._writer_endpoint_gate),
                        (self.settings.reader_address, self._reader_gate),
                    ):
                        self._endpoints.append(Entrance(self.loop, address, choose))
                return
            except OSError as error:
                for entrance in (*self._endpoints, *(i.entrance for i in self.instances.values())):
                    entrance.close()
                self._endpoints.clear()
                self.instances.clear()
                if asked or error.errno != errno.EADDRINUSE:
                    where = f"{', '.join(hosts)}: {error}"
                    raise LabError(f"Port {self.settings.port} cannot be had on {where}") from error

    # Who is there

    def readers(self, *, running: bool = False) -> list[Instance]:
        return [
            instance
            for instance in list(self.instances.values())
            if instance is not self.writer and (instance.state == "running" or not running)
        ]

    def members(self) -> Sequence[Member]:
        """The topology as a client is told now. Called on the loop's thread: reads, and takes no lock."""
        self._progress.watch()
        writer = self.writer
        everyone = list(self.instances.values())
        port = self.settings.port
        rows = [instance.member(is_writer=instance is writer, port=port) for instance in everyone]
        return [row for row in rows if row is not None]

    def measure(self) -> None:
        """Look at everybody's position now, so that no row of the topology is from before they froze, say."""
        self._progress.measure()

    def writer_is_running(self) -> bool:
        return self.settings.is_cluster and self.writer is not None and self.writer.state == "running"

    def add(self, instance_id: str) -> Instance:
        home = self.directory / instance_id
        home.mkdir(exist_ok=True)
        template = self.directory / "template"
        server = Server(home, program=self._program, template=template, accounts=self._accounts)
        answers = self.kind.session if self.settings.is_cluster else None
        gate = Gate(
            self.loop,
            str(server.socket_path),
            session=None if answers is None else partial(answers, instance_id, self.members),
            needles=self.kind.needles,
            shows=lambda moment: self._progress.shows(instance, moment),
        )
        host = self.settings.host(instance_id)
        entrance = Entrance(self.loop, (host, self.settings.port), lambda: gate)
        instance = Instance(instance_id, host=host, server=server, gate=gate, entrance=entrance)
        self.instances[instance_id] = instance
        return instance

    def remove(self, instance: Instance) -> None:
        del self.instances[instance.id]
        instance.server.kill()
        self.loop.run(instance.entrance.close)

    # Steps

    def start_server(self, instance: Instance, *, fresh: bool) -> None:
        """`fresh` means a new server id: with its old one a replica skips, as its own, events it must replay."""
        server = instance.server
        with self._spawning:
            if self._is_stopping:
                raise LabError("The cluster is being stopped.")
            server.start(
                server_id=next(self._server_ids) if fresh else server.server_id,
                max_connections=self.settings.max_connections,
                fresh=fresh,
                options=(*replication.OPTIONS, *self.kind.options) if self.settings.is_cluster else (),
            )
        server.on_exit(lambda pid: None if self._is_stopping else self._on_exit(instance, pid))

    def take_down(self, instance: Instance) -> None:
        """The instance's address refuses, then its process is killed, then its connections are reset."""
        instance.gate.is_up = instance.gate.is_held = False
        instance.become("dead")
        self.settle()
        instance.server.kill()
        self.loop.run(instance.gate.reset_links)
        self.cover(instance)

    def bring_back(self, instance: Instance, writer: Instance) -> None:
        """Start a dead instance as a reader on the data it had; anew where the writer never had all of that."""
        server = instance.server
        self.start_server(instance, fresh=False)
        server.wait_ready()
        if replication.contains(writer.server, replication.written(server)):
            replication.demote(server)
            self._join(instance, writer)
        else:
            server.kill()
            self.build(instance, writer)

    def build(self, instance: Instance, writer: Instance) -> None:
        """Start the instance as a reader with nothing but what the writer's binary log says.

        The log reaches back to the cluster's start, so no copy of the writer's files is needed.
        """
        self.start_server(instance, fresh=True)
        instance.server.wait_ready()
        self._join(instance, writer)

    def _join(self, instance: Instance, writer: Instance) -> None:
        instance.replication_delay = 0
        self.follow(instance, writer)
        began = time.monotonic()
        replication.wait_applied(instance.server, replication.written(writer.server))
        instance.applied_until, instance.seen_at = began, time.monotonic()
        instance.is_deposed = False
        instance.gate.is_up = True
        instance.become("running")
        self.wait_for_readers()
        self.settle()

    def rejoin(self, reader: Instance, writer: Instance) -> bool:
        """Let a thawed reader follow today's writer; return False where it has what that one never had."""
        reader.server.sql("STOP SLAVE IO_THREAD")
        if not replication.contains(writer.server, replication.received(reader.server)):
            return False
        self.follow(reader, writer)
        return True

    def follow(self, reader: Instance, writer: Instance) -> None:
        password, delay = self._accounts.replica_password, reader.replication_delay
        replication.follow(reader.server, writer.server, password=password, delay=delay)

    def wait_for_readers(self) -> None:
        """Let the writer wait for readers' acknowledgements exactly while there is a reader to give them."""
        if self.writer_is_running():
            assert self.writer is not None
            replication.set_waiting_for_readers(self.writer.server, bool(self.readers(running=True)))

    def cover(self, gone: Instance) -> None:
        """After a reader has gone: what it alone acknowledged must be with another before more goes wrong."""
        writer = self.writer
        if not self.writer_is_running() or writer is None or writer is gone:
            return
        self.wait_for_readers()
        others = [reader.server for reader in self.readers(running=True)]
        position = replication.sequence(replication.written(writer.server))
        deadline = time.monotonic() + REJOIN_SECONDS
        while others and replication.highest_received(others) < position:
            if time.monotonic() > deadline:
                logger.warning("no reader received %s in %.0f s", position, REJOIN_SECONDS)
                return
            time.sleep(0.002)

    def hand_over(self, leaving: Instance) -> None:
        """While there is no writer: before a reader goes, another fetches what only that one may have."""
        if not self.settings.is_cluster or leaving is self.writer or self.writer_is_running():
            return
        others = [reader for reader in self.readers(running=True) if reader is not leaving]
        position = replication.received(leaving.server)
        if others and replication.highest_received([o.server for o in others]) < replication.sequence(position):
            replication.wait_applied(leaving.server, position)
            self.follow(others[0], leaving)
            replication.wait_applied(others[0].server, position)

    # Addresses

    def settle(self) -> None:
        """Make every listening address fit the gates behind it."""

        def settle() -> None:
            for instance in self.instances.values():
                gate = instance.gate
                instance.entrance.settle(is_open=gate.is_open, is_dark=gate.is_dark)
            writer = self._writer_endpoint_gate()
            behind = [[] if writer is None else [writer], self._reader_gates()]
            for entrance, gates in zip(self._endpoints, behind, strict=False):
                is_dark = bool(gates) and all(gate.is_dark for gate in gates)
                entrance.settle(is_open=any(gate.is_open for gate in gates), is_dark=is_dark)

        self.loop.run(settle)

    def _writer_gate(self) -> Gate | None:
        return self.writer.gate if self.writer is not None else None

    def _writer_endpoint_gate(self) -> Gate | None:
        return self.stale.gate if self.stale is not None else self._writer_gate()

    def _reader_gates(self) -> list[Gate]:
        """Those the reader endpoint's DNS would name; it does not know of frozen hosts or broken wires."""
        gates = [reader.gate for reader in self.readers() if reader.gate.is_open and not reader.is_deposed]
        writer = self._writer_gate()
        return gates or ([] if writer is None else [writer])

    def _reader_gate(self) -> Gate | None:
        gates = self._reader_gates()
        return gates[next(self._turn) % len(gates)] if gates else None


def each(call: Callable[[Instance], None], instances: Sequence[Instance]) -> None:
    """Do it to all at once, and raise the first error."""
    if instances:
        with ThreadPoolExecutor(len(instances)) as pool:
            list(pool.map(call, instances))
