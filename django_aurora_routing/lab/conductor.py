"""Owns what can be asked of a cluster, one thing at a time; the steps are the ensemble's, the socket another's."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import replication
from .binaries import find_program
from .ensemble import Ensemble, each
from .errors import LabError
from .instances import Instance
from .promotion import Promoted, promote
from .servers import Accounts, check_addresses
from .settings import MAX_READERS, Settings

logger = logging.getLogger(__name__)


class Conductor:
    """A running cluster. Methods may be called from any thread; those that take time hold the one lock."""

    def __init__(self, settings: Settings, directory: Path, accounts: Accounts) -> None:
        self._lock = threading.RLock()
        self._all = Ensemble(settings, directory, accounts, find_program())

    @property
    def settings(self) -> Settings:
        """As asked for, with the port that was found."""
        return self._all.settings

    def start(self, say: Callable[[str], None]) -> None:
        self._all.start(say, self._ended)

    def stop(self) -> None:
        """Kill every server. The directory is for the caller to remove."""
        self._all.stop()

    def status(self) -> dict[str, Any]:
        writer, port = self._all.writer, self.settings.port
        everyone = list(self._all.instances.values())
        return {"instances": [i.as_dict(role="writer" if i is writer else "reader", port=port) for i in everyone]}

    # Faults of the machine, and their end

    def kill(self, instance_id: str) -> None:
        with self._lock:
            instance = self._get(instance_id)
            if instance.state == "running":
                self._all.hand_over(instance)
            if instance.state != "dead":
                self._all.take_down(instance)

    def freeze(self, instance_id: str) -> None:
        with self._lock:
            instance = self._get(instance_id, "running")
            self._all.hand_over(instance)
            instance.server.freeze()
            instance.become("frozen")
            self._all.cover(instance)

    def thaw(self, instance_id: str) -> None:
        """Let a frozen instance go on; one that was fenced meanwhile is started again, as a reader."""
        with self._lock:
            instance = self._get(instance_id, "frozen")
            if instance.server.pid is None:
                self._all.take_down(instance)
                self.revive(instance_id)
                return
            instance.server.thaw()
            instance.become("running")
            writer = self._all.writer
            if instance is writer:
                self._follow_all(instance)
            elif writer is not None and writer.state == "running" and not self._all.rejoin(instance, writer):
                self._all.take_down(instance)
                self._all.build(instance, writer)
            self._all.wait_for_readers()
            self._all.settle()

    def revive(self, instance_id: str) -> None:
        """Start a dead instance: as the writer if it still is, else as a reader."""
        with self._lock:
            instance = self._get(instance_id, "dead")
            if instance is not self._all.writer:
                self._all.bring_back(instance, self._writer("running"))
                return
            self._all.start_server(instance, fresh=False)
            instance.server.wait_ready()
            instance.become("running")
            self._follow_all(instance)
            self._all.wait_for_readers()
            instance.server.sql("SET GLOBAL read_only = 0")
            instance.gate.is_up = True
            self._all.settle()

    def heal(self) -> None:
        """Bring everything back: no fault on the wire, all instances running, one writer, readers caught up."""
        with self._lock:
            everyone = list(self._all.instances.values())
            for instance in everyone:
                self.clear(instance.id)
                self.report(instance.id)
            self.release_endpoint()
            for instance in sorted(everyone, key=lambda instance: instance is not self._all.writer):
                if instance.state == "frozen":
                    self.thaw(instance.id)
                elif instance.state == "dead":
                    self.revive(instance.id)
            for reader in self._all.readers():
                if reader.replication_delay:
                    self.delay_replication(reader.id, 0)
            if self.settings.is_cluster:
                self.catch_up()

    # Roles

    def promote(self, instance_id: str | None = None) -> Promoted:
        with self._lock:
            old = self._writer()
            readers = self._all.readers(running=True)
            target = None if instance_id is None else self._get(instance_id, "running")
            if target is old:
                raise LabError(f"Instance {old.id} is the writer already.")
            if not readers:
                raise LabError("No reader is running, so none can be promoted; revive or thaw one first.")
            if old.state == "frozen":
                # As a cluster fences a writer it cannot reach: the process ends, its clients still hear nothing.
                old.gate.is_held, old.gate.is_up = True, False
                old.server.kill()

            def publish(new: Instance) -> None:
                old.is_deposed = old.state == "frozen"
                self._all.writer = new
                self._all.settle()

            done = promote(old, readers, target, follow=self._all.follow, publish=publish)
            milliseconds = (done.finished - done.started) * 1000
            logger.info("promoted %s after %s in %.0f ms", done.new, done.old, milliseconds)
            return done

    def add_reader(self) -> str:
        with self._lock:
            writer = self._writer("running")
            instance_id = str(max(int(known) for known in self._all.instances) + 1)
            if len(self._all.instances) > MAX_READERS:
                raise LabError(f"There is room for {MAX_READERS} readers.")
            check_addresses([self.settings.host(instance_id)])
            instance = self._all.add(instance_id)
            try:
                self._all.build(instance, writer)
            except BaseException:
                self._all.remove(instance)
                raise
            return instance_id

    def catch_up(self) -> None:
        """Return when every running reader has what the writer has now, and the topology says so."""
        with self._lock:
            position = replication.written(self._writer("running").server)
            running = self._all.readers(running=True)
            each(lambda reader: replication.wait_applied(reader.server, position), running)
            self._all.measure()

    def delay_replication(self, instance_id: str, seconds: int) -> None:
        _check_delay(seconds)
        with self._lock:
            instance = self._get(instance_id, "running")
            writer = self._writer("running")
            if instance is writer:
                raise LabError(f"Instance {instance.id} is the writer; only a reader can lag.")
            instance.replication_delay = seconds
            self._all.follow(instance, writer)

    def report(
        self,
        instance_id: str,
        cpu: float | None = None,
        lag_ms: float | None = None,
        state: str | None = None,
        is_cut_off: bool = False,
    ) -> None:
        """Set what the topology says of an instance; None lets the lab say it again."""
        instance = self._get(instance_id)
        instance.cpu, instance.lag_ms, instance.said_state, instance.is_cut_off = cpu, lag_ms, state, is_cut_off

    # Faults of names

    def hold_endpoint(self) -> None:
        with self._lock:
            self._all.stale = self._writer()
            self._all.settle()

    def release_endpoint(self) -> None:
        with self._lock:
            self._all.stale = None
            self._all.settle()

    # Faults on the wire

    def refuse(self, instance_id: str) -> None:
        self._get(instance_id).gate.is_refusing = True
        self._all.settle()

    def reset(self, instance_id: str) -> None:
        self._all.loop.run(self._get(instance_id).gate.reset_links)

    def black_hole(self, instance_id: str) -> None:
        gate = self._get(instance_id).gate
        self._all.loop.run(lambda: gate.set_dark(True))
        self._all.settle()

    def lose_answers(self, instance_id: str) -> None:
        gate = self._get(instance_id).gate
        self._all.loop.run(lambda: gate.set_mute(True))

    def delay(self, instance_id: str, seconds: float) -> None:
        _check_delay(seconds)
        self._get(instance_id).gate.delay = float(seconds)

    def clear(self, instance_id: str) -> None:
        gate = self._get(instance_id).gate
        gate.is_refusing, gate.delay = False, 0.0
        self._all.loop.run(lambda: gate.set_dark(False))
        self._all.loop.run(lambda: gate.set_mute(False))
        self._all.settle()

    # Inside

    def _get(self, instance_id: str, state: str | None = None) -> Instance:
        try:
            instance = self._all.instances[instance_id]
        except KeyError:
            known = ", ".join(self._all.instances)
            raise LabError(f"No instance {instance_id!r}; there are {known}.") from None
        if state is not None and instance.state != state:
            ways = {"frozen": "; thaw it first", "dead": "; revive it first"}
            hint = ways.get(instance.state, "") if state == "running" else ""
            raise LabError(f"Instance {instance_id} is {instance.state}, not {state}{hint}.")
        return instance

    def _writer(self, state: str | None = None) -> Instance:
        writer = self._all.writer
        if writer is None or not self.settings.is_cluster:
            raise LabError("This is a single server, not a cluster.")
        if state is not None and writer.state != state:
            raise LabError(f"The writer, {writer.id}, is {writer.state}; promote a reader or bring it back first.")
        return writer

    def _follow_all(self, writer: Instance) -> None:
        each(lambda reader: self._all.follow(reader, writer), self._all.readers(running=True))

    def _ended(self, instance: Instance, pid: int) -> None:
        """A server process has ended: take note, unless that was our own doing."""
        with self._lock:
            is_current = pid == instance.server.last_pid
            if is_current and instance.state != "dead" and not instance.gate.is_held:
                logger.warning("the server of %s ended by itself or by an outside hand", instance.id)
                self._all.take_down(instance)


def _check_delay(seconds: float) -> None:
    if not seconds >= 0:
        raise LabError(f"A delay is 0 seconds or more, not {seconds:g}.")
