"""How soon a process of 200 threads is back after a failover, and how often it tries to connect meanwhile.

`python -m benchmarks.recovery [--rounds N] [--threads N] [--quick]`. Each thread has a connection of its own and writes
in a loop. kill -9 of the writer, a promotion after 5 s, and the time from then on (`Promotion.writable`) until the last
thread has written. The lab adds 2 ms to each round trip. Next to it the floor: as many threads of a like process that
connect to the new writer and write once, all at the same moment, by Django's own backend on the same driver.

Connection attempts are those of the process: by Python's sockets, or by mysqlclient.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django_aurora_routing.lab import LocalCluster

from ._contenders import (
    AWS_V2,
    MYSQLCLIENT,
    OURS,
    OURS_MYSQLCLIENT,
    PLAIN,
    Contender,
    cluster_database,
    database,
    installed,
)
from ._rows import CREATE_TABLE
from ._tables import print_table
from ._talk import said, tell

ROUNDS, QUICK_ROUNDS = 5, 1
THREADS = 200
WITHOUT_WRITER_SECONDS = 5.0
LATENCY_SECONDS = 0.002  # added to each round trip


@dataclass
class Record:
    """All rounds of one contender. Milliseconds from the promotion, or from the word to connect."""

    contender: Contender
    first: list[float] = field(default_factory=list)
    median: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    late: int = 0
    searching: list[float] = field(default_factory=list)
    worst: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)

    def note_times(self, wrote: Sequence[float], since: float) -> None:
        times = sorted((at - since) * 1000 for at in wrote if at > since)
        self.late += len(wrote) - len(times)
        if times:
            self.first.append(times[0])
            self.median.append(statistics.median(times))
            self.last.append(times[-1])

    def note_attempts(self, attempts: Sequence[float], killed: float, promoted: float) -> None:
        searching = [at for at in attempts if killed <= at < promoted]
        after = [at for at in attempts if at >= promoted]
        self.searching.append(len(searching) / (promoted - killed))
        self.worst.append(max((sum(at <= other < at + 1 for other in searching) for at in searching), default=0))
        self.after.append(len(after))

    def times(self) -> list[str]:
        cells = [f"{statistics.median(values):.0f}" if values else "-" for values in (self.first, self.median)]
        last = sorted(self.last)
        cells += [f"{statistics.median(last):.0f}", f"{last[-1]:.0f}"] if last else ["-", "-"]
        return [self.contender.title, str(len(last)), *cells, str(self.late)]

    def attempts(self) -> list[str]:
        return [
            self.contender.title,
            f"{statistics.median(self.searching):.0f}",
            str(max(self.worst)),
            f"{statistics.median(self.after):.0f}",
        ]


def main() -> None:
    """Start a cluster, let crowds fail over on it in turns, print how they did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help=f"for each contender ({ROUNDS}, with --quick {QUICK_ROUNDS})")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--only", action="append", help="the key of a contender; may be repeated")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    wanted = installed(OURS, OURS_MYSQLCLIENT, AWS_V2)
    records = [Record(each) for each in wanted if not arguments.only or each.key in arguments.only]
    floors = [Record(contender) for contender in installed(PLAIN, MYSQLCLIENT)]
    with LocalCluster(readers=2) as cluster:
        for _ in range(rounds):
            for record in records:
                one_failover(cluster, record, arguments.threads)
            for record in floors:
                one_floor(cluster, record, arguments.threads)
    report(records, floors, arguments.threads)


def prepare(cluster: LocalCluster) -> None:
    cluster.heal()
    cluster.writer.query(CREATE_TABLE)
    cluster.catch_up()
    for instance in cluster.instances:
        instance.delay(LATENCY_SECONDS)


def one_failover(cluster: LocalCluster, record: Record, threads: int) -> None:
    prepare(cluster)
    with crowd(cluster_database(record.contender, cluster), "failover", threads) as process:
        time.sleep(0.5)
        cluster.writer.kill()
        tell(process, "killed")
        time.sleep(WITHOUT_WRITER_SECONDS)
        promotion = cluster.promote()
        tell(process, str(promotion.writable))
        account = said(process)
    record.note_times(account["wrote"], promotion.writable)
    record.note_attempts(account["attempts"], account["killed"], promotion.writable)
    say(record, account["attempts"])


def one_floor(cluster: LocalCluster, record: Record, threads: int) -> None:
    prepare(cluster)
    writer = cluster.writer
    plain = database(record.contender, cluster, host=writer.host, port=writer.port)
    with crowd(plain, "connect", threads) as process:
        tell(process, "go")
        account = said(process)
    record.note_times(account["wrote"], account["began"])
    say(record, account["attempts"])


def say(record: Record, attempts: Sequence[float]) -> None:
    last = f"{record.last[-1]:.0f} ms" if record.last else "never"
    print(f"  {record.contender.title}: the last thread after {last}; {len(attempts)} connection attempts", flush=True)


@contextmanager
def crowd(database: dict[str, Any], way: str, threads: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks._crowd"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            tell(process, json.dumps({"database": database, "way": way, "threads": threads}))
            assert process.stdout is not None
            if process.stdout.readline() != "writing\n":
                raise SystemExit("a crowd cannot write at all")
            yield process
        finally:
            process.kill()


def report(records: Sequence[Record], floors: Sequence[Record], threads: int) -> None:
    print_table(
        f"From promotion until {threads} threads have written again, milliseconds (medians of the rounds)",
        ["rounds", "first", "median", "last", "last, worst round", "not within 30 s"],
        [record.times() for record in records],
    )
    print_table(
        f"The floor: {threads} threads connect and write once, all at one moment, milliseconds",
        ["rounds", "first", "median", "last", "last, worst round", "not within 30 s"],
        [record.times() for record in floors],
    )
    print_table(
        f"Connection attempts of the process: while there was no writer for {WITHOUT_WRITER_SECONDS:.0f} s, and after",
        ["a second", "worst second", "after the promotion, in all"],
        [record.attempts() for record in records],
    )


if __name__ == "__main__":
    main()
