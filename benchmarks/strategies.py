"""How each strategy spreads connections over readers, and how soon kept ones are even again when a reader is added.

`python -m benchmarks.strategies [--quick]`. On the lab's cluster, real servers, by our engine and real connects:

* 10,000 connections of one process for each strategy, of which 60 are open at any time, the next one replacing one of
  them by chance; once with three readers that are alike, once with one of them busy and behind and another one slow;
* 150 processes with two connections each, each with nothing but its own knowledge;
* 60 threads that read by connections which they keep, while a reader is added to two;
* 60 processes with one such connection each.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import mmap
import os
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings
from django.db import connections

from django_aurora_routing import release_resources
from django_aurora_routing.core.selection import STRATEGIES
from django_aurora_routing.lab import LocalCluster

from ._contenders import OURS, OURS_MYSQLCLIENT, cluster_database
from ._tables import print_table

CONNECTIONS, QUICK_CONNECTIONS = 10_000, 600
OPEN = 60
PROCESSES, QUICK_PROCESSES, EACH = 150, 30, 2
THREADS = 60
WATCHED_SECONDS, QUICK_WATCHED_SECONDS = 60, 15
FOR_MANY_PROCESSES = ("random", "round_robin", "least_connections", "power_of_two", "lowest_load")

_numbers = itertools.count()


def main() -> None:
    """Start the servers, connect and connect and connect, print where that led."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer connections, and a shorter watch")
    is_quick = parser.parse_args().quick
    logging.disable(logging.CRITICAL)
    settings.configure(DATABASES={"default": {}}, USE_TZ=False)
    django.setup()
    count = QUICK_CONNECTIONS if is_quick else CONNECTIONS
    processes = QUICK_PROCESSES if is_quick else PROCESSES
    with LocalCluster(readers=3) as cluster:
        ids = [reader.id for reader in cluster.readers]
        for prepare, columns in ((alike, ids), (unlike, [ids[0], f"{ids[1]}, busy", f"{ids[2]}, slow"])):
            title = prepare(cluster)
            print_table(
                f"{count:,} connections of one process, {OPEN} open at a time; {title}: % by reader",
                [*columns, "unevenness of the open ones, %", "ms a connect"],
                [of_one_process(cluster, strategy, count) for strategy in STRATEGIES],
            )
            print_table(
                f"{processes} processes with {EACH} connections each; {title}: % by reader",
                [*columns, "unevenness, %"],
                [of_many_processes(cluster, strategy, processes) for strategy in FOR_MANY_PROCESSES],
            )
    seconds = QUICK_WATCHED_SECONDS if is_quick else WATCHED_SECONDS
    for watch in (watch_growth, watch_growth_by_processes):
        with LocalCluster(readers=2) as cluster:
            watch(cluster, seconds)


def alike(cluster: LocalCluster) -> str:
    for reader in cluster.readers:
        reader.report(cpu=20, lag_ms=15)
    return "three readers alike"


def unlike(cluster: LocalCluster) -> str:
    _, busy, slow = cluster.readers
    busy.report(cpu=90, lag_ms=400)
    slow.delay(0.001)
    return "one at 90 % CPU and 400 ms behind, one 1 ms slower a round trip"


@contextmanager
def alias(cluster: LocalCluster, strategy: str, **more: Any) -> Iterator[str]:
    """A new alias for readers, that knows of the cluster what it finds out itself. Weights are 3, 2, 1."""
    name = f"r{next(_numbers)}"
    contender = OURS_MYSQLCLIENT if OURS_MYSQLCLIENT.is_installed else OURS
    database = cluster_database(contender, cluster)
    weights = {reader.id: weight for reader, weight in zip(cluster.readers, (3, 2, 1), strict=False)}
    kind = "round_robin" if strategy == "round_robin" else "weighted_random"
    if strategy in ("round_robin", "weighted_random", "highest_weight"):
        database["OPTIONS"][f"{kind}_host_weight_pairs"] = weights
    database["OPTIONS"] |= {
        "read_only": True,
        "reader_host_selector_strategy": strategy,
        "cluster_id": f"{cluster.name} {name}",
        **more,
    }
    connections.configure_settings({"default": {}, name: database})
    connections.__dict__["settings"] = connections._settings = {**connections.settings, name: database}
    yield name
    release_resources()


def connected(name: str) -> Any:
    made = connections.create_connection(name)
    made.connect()
    return made


def instance_of(connection: Any) -> str:
    return str(connection.instance.host.rpartition(".")[2])


def of_one_process(cluster: LocalCluster, strategy: str, count: int) -> list[str]:
    rng, spread, uneven = random.Random(1), Counter[str](), []
    ids = [reader.id for reader in cluster.readers]
    with alias(cluster, strategy) as name:
        kept = [connected(name) for _ in range(OPEN)]
        spread.update(map(instance_of, kept))
        began = time.monotonic()
        for number in range(count - OPEN):
            slot = rng.randrange(OPEN)
            kept[slot].close()
            kept[slot] = connected(name)
            spread[instance_of(kept[slot])] += 1
            if number % 10 == 0:
                uneven.append(unevenness(Counter(map(instance_of, kept)), ids))
        seconds = (time.monotonic() - began) / (count - OPEN)
        for connection in kept:
            connection.close()
    shown = "by weight" if strategy in ("round_robin", "weighted_random", "highest_weight") else ""
    return [
        f"{strategy} {'(3, 2, 1)' if shown else ''}".strip(),
        *(f"{100 * spread[i] / count:.1f}" for i in ids),
        shown or f"{100 * statistics.mean(uneven):.0f}",
        f"{1000 * seconds:.2f}",
    ]


def of_many_processes(cluster: LocalCluster, strategy: str, count: int) -> list[str]:
    """Each alias has a cluster, and so a knowledge, of its own, as each process has."""
    spread = Counter[str]()
    kept = []
    ids = [reader.id for reader in cluster.readers]
    no_weights = {"round_robin_host_weight_pairs": ""}
    for _ in range(count):
        with alias(cluster, strategy, **no_weights) as name:
            mine = [connected(name) for _ in range(EACH)]
            spread.update(map(instance_of, mine))
            kept += mine
    for connection in kept:
        connection.close()
    return [
        strategy,
        *(f"{100 * spread[i] / (count * EACH):.1f}" for i in ids),
        f"{100 * unevenness(spread, ids):.0f}",
    ]


def unevenness(counts: Counter[str], ids: Sequence[str]) -> float:
    """How much the fullest has more than the emptiest, for the mean of them all."""
    found = [counts[i] for i in ids]
    return (max(found) - min(found)) / statistics.mean(found)


def watch_growth(cluster: LocalCluster, seconds: int) -> None:
    """Threads that read all the time; each by the connection that it has once got."""
    places: dict[int, str] = {}
    reads: list[Counter[str]] = [Counter() for _ in range(THREADS)]
    failures: list[Exception] = []
    stop = threading.Event()
    with alias(cluster, "power_of_two", **({"topology_refresh_ms": 2000} if seconds < 30 else {})) as name:

        def read(number: int) -> None:
            connection = connections[name]
            while not stop.wait(random.uniform(0.01, 0.03)):
                try:
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT 1")
                        cursor.fetchall()
                    places[number] = instance_of(connection)
                    reads[number][places[number]] += 1
                except Exception as exc:  # noqa: BLE001 - to be counted
                    failures.append(exc)
            connection.close()

        threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        while len(places) < THREADS:
            time.sleep(0.1)
        rows = [row("before", Counter(places.values()), cluster, Counter())]
        cluster.add_reader()
        added_at, before = time.monotonic(), sum(reads, Counter[str]())
        for _ in range(0, seconds, 5):
            time.sleep(5)
            now = sum(reads, Counter[str]())
            title = f"{time.monotonic() - added_at:.0f} s after"
            rows.append(row(title, Counter(places.values()), cluster, now - before))
            before = now
        stop.set()
        for thread in threads:
            thread.join(10)
    columns = [reader.id for reader in cluster.readers]
    print_table(
        f"{THREADS} threads that read by kept connections; {columns[-1]} is added; failed reads: {len(failures)}",
        [*columns, "unevenness, %", "reads since the last line, by reader", "unevenness, %"],
        rows,
    )


def watch_growth_by_processes(cluster: LocalCluster, seconds: int) -> None:
    """Real processes, each with one connection: nothing that any of them could even out by itself."""
    places = mmap.mmap(-1, THREADS)  # the last number of the instance's address, by process
    with alias(cluster, "power_of_two", topology_refresh_ms=2000 if seconds < 30 else 10_000) as name:
        pids = [pid for number in range(THREADS) if (pid := _child(name, places, number))]
        while 0 in places[:]:
            time.sleep(0.1)
        rows = [row("before", _counted(places), cluster, Counter())]
        cluster.add_reader()
        began = time.monotonic()
        for _ in range(0, seconds, 10):
            time.sleep(10)
            rows.append(row(f"{time.monotonic() - began:.0f} s after", _counted(places), cluster, Counter()))
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    columns = [reader.id for reader in cluster.readers]
    print_table(
        f"{THREADS} processes with one kept connection each", [*columns, "unevenness, %"], [each[:5] for each in rows]
    )


def _counted(places: mmap.mmap) -> Counter[str]:
    return Counter(map(str, places[:]))


def _child(name: str, places: mmap.mmap, number: int) -> int:
    """Its pid, in the parent."""
    if pid := os.fork():
        return pid
    try:
        while True:
            with connections[name].cursor() as cursor:
                cursor.execute("SELECT 1")
            places[number] = int(instance_of(connections[name]))
            time.sleep(random.uniform(0.2, 0.6))
    finally:
        os._exit(1)


def row(title: str, counts: Counter[str], cluster: LocalCluster, reads: Counter[str]) -> list[str]:
    ids = [reader.id for reader in cluster.readers]
    shown = [str(counts[i]) for i in ids] + [""] * (3 - len(ids))
    return [
        title,
        *shown,
        f"{100 * unevenness(counts, ids):.0f}",
        " ".join(str(reads[i]) for i in ids) if reads else "",
        f"{100 * unevenness(reads, ids):.0f}" if reads else "",
    ]


if __name__ == "__main__":
    main()
