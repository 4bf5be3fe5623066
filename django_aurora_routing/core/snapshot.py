"""What an application is shown of a cluster: a picture that never changes, and reads well."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .failover import View
from .topology import Instance, Role


@dataclass(frozen=True, slots=True, repr=False)
class ClusterSnapshot:
    """A cluster as this process knew it at one moment.

    `name` is what logs call it, `kind` the name of its dialect. Of each instance there are `id`, `address`, `role`,
    `lag` (seconds), `cpu` (percent) and `age` (seconds between its own report and the answer that had it), infinite
    where they are not known. `age` here is how many seconds ago the cluster was asked; `generation` rises whenever
    connections may be in the wrong place. `writer` is None while nobody is known to write.
    """

    name: str
    kind: str
    instances: tuple[Instance, ...]
    writer: Instance | None
    set_aside: tuple[Instance, ...]
    generation: int
    age: float

    @property
    def readers(self) -> tuple[Instance, ...]:
        """Those that are read from: readers that failed are in `set_aside` until they answer again."""
        return tuple(i for i in self.instances if i.role is Role.READER and i not in self.set_aside)

    def __repr__(self) -> str:
        told = "; ".join(map(self._told, self.instances)) or "no instance is known"
        asked = "never asked" if math.isinf(self.age) else f"asked {self.age:.1f} s ago"
        return f"<ClusterSnapshot {self.name} ({self.kind}), generation {self.generation}, {asked}: {told}>"

    def _told(self, instance: Instance) -> str:
        words = [f"{instance.id} {instance.role.value}"]
        if instance.role is Role.READER:
            words.append("lag unknown" if math.isinf(instance.lag) else f"{instance.lag * 1000:.0f} ms behind")
        elif instance != self.writer:
            words.append("in doubt")
        words.append(f"cpu {instance.cpu:.0f} %")
        if instance in self.set_aside:
            words.append("set aside")
        return ", ".join(words)


def snapshot(name: str, kind: str, view: View, now: float) -> ClusterSnapshot:
    """The picture of a view at `now` (`time.monotonic()`)."""
    instances = view.topology.instances
    return ClusterSnapshot(
        name=name,
        kind=kind,
        instances=instances,
        writer=view.trusted_writer,
        set_aside=tuple(instance for instance in instances if instance.address in view.set_aside),
        generation=view.generation,
        age=max(0.0, now - view.topology.asked_at),
    )
