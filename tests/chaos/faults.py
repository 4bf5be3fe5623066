"""Does to the cluster what the schedule says, at the time it says, and keeps the account of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django_aurora_routing.lab import LabError, LocalCluster

from .schedule import Act, Fault


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was done, from when to when by `time.monotonic()`."""

    fault: Fault
    began: float
    ended: float


class Faults(threading.Thread):
    """Plays a schedule. Where the servers take longer than it allows for, all that follows moves with them."""

    def __init__(self, cluster: LocalCluster, schedule: Sequence[Fault], say: Callable[[str], None]) -> None:
        super().__init__(name="faults", daemon=True)
        self.done: list[Done] = []
        self.trouble = ""
        self.stop = threading.Event()
        self._cluster, self._schedule, self._say = cluster, schedule, say

    def run(self) -> None:
        began = time.monotonic()
        for fault in self._schedule:
            if self.stop.wait(max(0.0, began + fault.at - time.monotonic())):
                return
            began = max(began, time.monotonic() - fault.at)
            try:
                self._do(fault)
            except LabError as error:
                self.trouble = f"instance {fault.instance} could not be {fault.act.value}: {error}"
                self._say(self.trouble)
                return

    def _do(self, fault: Fault) -> None:
        instance = self._cluster.instance(fault.instance)
        started = time.monotonic()
        if fault.act is Act.PROMOTE:
            self._cluster.promote(instance)
        elif fault.act is Act.DELAY:
            instance.delay(fault.seconds)
        elif fault.act in (Act.LAG, Act.KEEP_UP):
            instance.delay_replication(int(fault.seconds))
        else:
            getattr(instance, fault.act.name.lower())()
        took = time.monotonic() - started
        self.done.append(Done(fault, started, started + took))
        self._say(f"{fault.scene}: {fault.instance} {fault.act.value}" + (f" ({took:.1f} s)" if took > 0.1 else ""))
