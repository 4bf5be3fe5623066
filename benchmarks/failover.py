"""How soon is written again after the writer was killed, and is each row that was acknowledged there once.

`python -m benchmarks.failover [--kills N] [--latency MS] [--quick]`. Ours and the AWS wrapper take turns on a cluster.
Each kill has a new process that inserts rows in a loop: kill -9, a promotion a second later, the first write since. The
time begins when the new writer takes writes (`Promotion.writable`), so what the lab needs to promote it is not counted.
The lab adds 2 ms to each round trip. And what the search costs meanwhile: the process's CPU, and the SELECTs it asks of
the instances that are left.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django_aurora_routing.lab import Instance, LocalCluster, Promotion

from ._contenders import AWS_V2, OURS, OURS_MYSQLCLIENT, Contender, cluster_database, installed
from ._rows import CREATE_TABLE, TABLE
from ._tables import print_table, with_ratio

KILLS, QUICK_KILLS = 30, 3
LATENCY_MS = 2.0
WARM_UP_SECONDS = 1.0
BEFORE_PROMOTION_SECONDS = 1.0


@dataclass(frozen=True)
class Kill:
    """What one process saw of one kill. `milliseconds` is None where nothing was written within its limit.

    `cpu` is the part of one CPU, `selects` how many a second, both while there was no writer.
    """

    milliseconds: float | None
    cpu: float
    selects: float
    acknowledged: int
    lost: int
    doubled: int
    errors: Counter[str]


@dataclass
class Record:
    """All kills of one contender."""

    contender: Contender
    kills: list[Kill] = field(default_factory=list)

    @property
    def times(self) -> list[float]:
        return sorted(kill.milliseconds for kill in self.kills if kill.milliseconds is not None)

    def cells(self, base: Sequence[float]) -> list[str]:
        """The summary, each figure beside how many times the base's it is; and the balance of the rows."""
        own = summary(self.times)
        pairs = zip(own, summary(base), strict=True) if own and base else ()
        shown = [with_ratio(value, value / other) for value, other in pairs] or ["-"] * 4
        counts = [sum(getattr(kill, name) for kill in self.kills) for name in ("acknowledged", "lost", "doubled")]
        return [str(len(self.kills)), *shown, str(len(self.kills) - len(self.times)), *map(str, counts)]

    def search(self) -> list[str]:
        cpu, selects = (statistics.median(getattr(kill, name) for kill in self.kills) for name in ("cpu", "selects"))
        return [f"{cpu * 100:.0f}", f"{selects:.0f}"]

    def errors(self) -> str:
        every = sum((kill.errors for kill in self.kills), Counter[str]())
        return ", ".join(f"{count} x {name}" for name, count in every.most_common()) or "none"


def summary(times: Sequence[float]) -> list[float]:
    """Minimum, median, 90th percentile and maximum."""
    if not times:
        return []
    times = sorted(times)
    return [times[0], statistics.median(times), times[math.ceil(0.9 * len(times)) - 1], times[-1]]


def main() -> None:
    """Start a cluster, kill its writer again and again, print what each contender made of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, help=f"for each contender ({KILLS}, with --quick {QUICK_KILLS})")
    parser.add_argument("--latency", type=float, default=LATENCY_MS, help="milliseconds added to each round trip (2)")
    parser.add_argument("--quick", action="store_true", help="fewer kills")
    arguments = parser.parse_args()
    kills = arguments.kills or (QUICK_KILLS if arguments.quick else KILLS)
    records = [Record(contender) for contender in installed(OURS, OURS_MYSQLCLIENT, AWS_V2)]
    with LocalCluster(readers=2) as cluster:
        for number in range(1, kills + 1):
            for record in records:
                kill = kill_once(cluster, record.contender, arguments.latency / 1000)
                record.kills.append(kill)
                shown = "never" if kill.milliseconds is None else f"{kill.milliseconds:.0f} ms"
                print(f"  kill {number} of {kills}, {record.contender.title}: {shown}", flush=True)
    report(records)


def report(records: Sequence[Record]) -> None:
    base = records[0].times
    print_table(
        f"From promotion to first write: milliseconds, x {records[0].contender.title}; and the rows of all kills",
        ["kills", "min", "median", "p90", "max", "never", "acknowledged", "lost", "doubled"],
        [[record.contender.title, *record.cells(base)] for record in records],
    )
    print_table(
        "While there is no writer: the process's share of a CPU, and its SELECTs on the instances that are left",
        ["% CPU", "SELECTs a second"],
        [[record.contender.title, *record.search()] for record in records],
    )
    print()
    for record in records:
        print(f"  errors that {record.contender.title} showed to the application: {record.errors()}")


def kill_once(cluster: LocalCluster, contender: Contender, latency: float) -> Kill:
    """A whole cluster, a new process that writes, one kill and one promotion; and every row counted."""
    cluster.heal()
    cluster.writer.query(CREATE_TABLE)
    cluster.catch_up()
    for instance in cluster.instances:
        instance.delay(latency)
    command = [sys.executable, "-m", "benchmarks._writing"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            promotion, account, selects = told(process, cluster, contender)
        finally:
            process.kill()
    stored = dict(cluster.writer.query(f"SELECT token, COUNT(*) FROM {TABLE} GROUP BY token"))
    written: dict[str, float] = account["written"]
    acknowledged = {*written, *account["found"]}
    since = [at for at in written.values() if at > promotion.started]
    return Kill(
        milliseconds=(min(since) - promotion.writable) * 1000 if since else None,
        cpu=account["cpu"],
        selects=selects,
        acknowledged=len(acknowledged),
        lost=len(acknowledged - set(stored)),
        doubled=sum(count > 1 for count in stored.values()),
        errors=Counter(account["errors"]),
    )


def told(
    process: subprocess.Popen[str], cluster: LocalCluster, contender: Contender
) -> tuple[Promotion, dict[str, Any], float]:
    """Let it write, kill and promote; returns what it tells afterwards, and how much it asked meanwhile."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps(cluster_database(contender, cluster)), file=process.stdin, flush=True)
    if process.stdout.readline() != "writing\n":
        raise SystemExit(f"{contender.title} cannot write at all")
    time.sleep(WARM_UP_SECONDS)
    readers = cluster.readers
    cluster.writer.kill()
    print("killed", file=process.stdin, flush=True)
    before, began = selects_on(readers), time.monotonic()
    time.sleep(BEFORE_PROMOTION_SECONDS)
    selects = (selects_on(readers) - before) / (time.monotonic() - began)
    promotion = cluster.promote()
    print(promotion.started, file=process.stdin, flush=True)
    return promotion, json.loads(process.stdout.readline()), selects


def selects_on(instances: Sequence[Instance]) -> int:
    """How many SELECTs they have been sent; replication sends none."""
    return sum(int(instance.query("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1]) for instance in instances)


if __name__ == "__main__":
    main()
