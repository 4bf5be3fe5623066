"""What a backend costs before it does anything: time and memory to import it, threads, connections, CPU at rest.

`python -m benchmarks.footprint [--quick]`. Each figure is the median of several processes, the contenders in turns. The
memory is what the backend adds to a process in which Django is set up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from django_aurora_routing.lab import LocalCluster

from ._contenders import (
    AWS_V2,
    MYSQLCLIENT,
    OURS,
    OURS_BARE,
    OURS_MYSQLCLIENT,
    PLAIN,
    Contender,
    cluster_database,
    installed,
)
from ._tables import print_table, with_ratio
from ._talk import said, tell

IMPORTS, QUICK_IMPORTS = 9, 3
REST_SECONDS = 12.0  # our host monitor ends its thread after 10
WATCHED_SECONDS, QUICK_WATCHED = 60.0, 10.0  # two refreshes of a topology


@dataclass
class Record:
    """One contender. `steps` holds what its process said when it had connected and when it had failed over."""

    contender: Contender
    imports: list[dict[str, Any]] = field(default_factory=list)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    cpu: float = 0.0  # seconds a minute

    def median(self, figure: str) -> float:
        return float(statistics.median(each[figure] for each in self.imports))


def main() -> None:
    """Start a cluster, then processes on it; print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer processes")
    is_quick = parser.parse_args().quick
    imports = QUICK_IMPORTS if is_quick else IMPORTS
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # with it a checkout is compiled anew by each process
    contenders = installed(PLAIN, OURS, OURS_BARE, AWS_V2, MYSQLCLIENT, OURS_MYSQLCLIENT)
    records = [Record(contender) for contender in contenders]
    with LocalCluster(readers=2) as cluster:
        cluster.writer.query("CREATE OR REPLACE TABLE resting (id INT)")
        cluster.catch_up()
        for number in range(imports + 1):
            for record in records:
                with started(record.contender, cluster) as process:
                    if (figures := said(process)) and number:  # the first one compiles what is not yet
                        record.imports.append(figures)
        watch(records, cluster, QUICK_WATCHED if is_quick else WATCHED_SECONDS)
        for record in records:
            cluster.heal()
            with started(record.contender, cluster) as process:
                record.steps["import"] = said(process)
                record.steps["connect"] = step(process, cluster, "connect")
                if record.contender.knows_clusters and record.contender is not OURS_BARE:
                    cluster.writer.kill()
                    cluster.promote()
                    record.steps["failover"] = step(process, cluster, "write")
    report(records)


@contextmanager
def started(contender: Contender, cluster: LocalCluster) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks._resting"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            tell(process, json.dumps(cluster_database(contender, cluster)))
            yield process
        finally:
            process.kill()


def watch(records: Sequence[Record], cluster: LocalCluster, seconds: float) -> None:
    """Let all of them rest at the same time, and see how much they compute then."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started(record.contender, cluster)) for record in records]
        for process in processes:
            said(process)
            tell(process, "connect")
            said(process)
        time.sleep(REST_SECONDS)
        before = [used(process) for process in processes]
        time.sleep(seconds)
        for record, process, at_first in zip(records, processes, before, strict=True):
            record.cpu = (used(process) - at_first) * 60 / seconds


def used(process: subprocess.Popen[str]) -> float:
    tell(process, "rest")
    return float(said(process)["cpu"])


def step(process: subprocess.Popen[str], cluster: LocalCluster, name: str) -> dict[str, Any]:
    """Let it do that, and see what it keeps once it rests."""
    tell(process, name)
    said(process)
    time.sleep(REST_SECONDS)
    count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s"
    running = [instance for instance in cluster.instances if instance.state == "running"]
    connections = sum(instance.query(count, [cluster.user])[0][0] for instance in running)
    tell(process, "rest")
    return {**said(process), "connections": connections}


def report(records: Sequence[Record]) -> None:
    base = records[0]
    print_table(
        f"Import, after Django's own: medians of {len(base.imports)} processes, x {base.contender.title}",
        ["milliseconds", "MiB", "threads"],
        [
            [
                record.contender.title,
                with_ratio(record.median("seconds") * 1000, record.median("seconds") / base.median("seconds")),
                with_ratio(record.median("memory"), record.median("memory") / base.median("memory"), digits=1),
                str(len(record.steps["import"]["threads"])),
            ]
            for record in records
        ],
    )
    rows = []
    for record in records:
        steps = [record.steps.get(name) for name in ("connect", "failover")]
        cells = [cell for each in steps for cell in at_rest(each)]
        rows.append([record.contender.title, f"{record.cpu * 1000:.1f}", *cells])
    print_table(
        f"One connection, {REST_SECONDS:.0f} s at rest: after it was made | after a failover of its writer",
        ["CPU, ms a minute", "MiB", "threads", "extra connections", "| MiB", "threads", "extra connections"],
        rows,
    )
    for record in records:
        for name, each in record.steps.items():
            if each["threads"]:
                print(f"  threads of {record.contender.title} after {name}: {', '.join(each['threads'])}")


def at_rest(step: dict[str, Any] | None) -> list[str]:
    if step is None:
        return ["", "", ""]
    return [f"{step['memory']:.1f}", str(len(step["threads"])), str(step["connections"] - 1)]


if __name__ == "__main__":
    main()
