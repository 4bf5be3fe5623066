"""How long an application hangs when its server falls silent, next to the bound of the options that say so.

`python -m benchmarks.detection [--quick]`. Each row is a process that is at that place when the server is frozen
or the wire to it is cut; all of one silence hang side by side. The time is from the beginning of the call, or from the
silence where that comes later. Ours runs with `host_monitoring_v2` alone, so that what ends is not searched on. The AWS
wrapper's host monitoring does nothing on MySQL; it runs with failover_v2, without and with the time limits it has. What
has not ended after 15 s is called "never".
"""

from __future__ import annotations

import argparse
import json
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django_aurora_routing.lab import Instance, LocalCluster

from ._contenders import AWS_V2, OURS, OURS_MYSQLCLIENT, Contender, cluster_database, installed
from ._tables import print_table

CAP_SECONDS = 15.0
SETTINGS = ((5000, 1000, 3), (6000, 1000, 1), (1000, 300, 2))
AWS_LIMITED = replace(
    AWS_V2,
    title="AWS wrapper, failover_v2, connect_timeout and socket_timeout 5",
    options={**AWS_V2.options, "connect_timeout": 5, "socket_timeout": 5},
)


@dataclass(frozen=True)
class Silence:
    """One way to fall silent, `after` seconds from the word to go on; and the places where that finds processes."""

    title: str
    begin: Callable[[Instance], None]
    places: tuple[str, ...]
    after: float = 0.0
    latency: float = 0.0  # added to each round trip before


SILENCES = (
    Silence("frozen", Instance.freeze, ("statement", "COMMIT", "connect")),
    Silence("frozen half way", Instance.freeze, ("fetch",), after=1.0),
    Silence("black-holed", Instance.black_hole, ("statement", "COMMIT", "connect")),
    Silence("black-holed behind the greeting", Instance.black_hole, ("connect",), after=0.45, latency=0.3),
)


@dataclass
class Case:
    """One process. `bound` in seconds, None where nothing is promised."""

    contender: Contender
    place: str
    setting: str
    bound: float | None
    process: subprocess.Popen[str]


def main() -> None:
    """Start a cluster, let it fall silent in each way, print what hung and for how long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only one setting of the options")
    settings = SETTINGS[-1:] if parser.parse_args().quick else SETTINGS
    rows: list[list[str]] = []
    with LocalCluster(readers=1) as cluster:
        cluster.writer.query("CREATE TABLE hanging (n INT)")
        for silence in SILENCES:
            cluster.heal()
            rows += measure(cluster, silence, settings)
    print_table(
        "Seconds until what hung had ended: time/interval/count of failure_detection, and their bound",
        ["place", "options", "bound", "seconds", "error"],
        rows,
    )


def measure(cluster: LocalCluster, silence: Silence, settings: Sequence[tuple[int, int, int]]) -> list[list[str]]:
    cases = [
        start(cluster, contender, place, setting)
        for place in silence.places
        for contender in installed(OURS, OURS_MYSQLCLIENT)
        for setting in settings
    ]
    if silence is SILENCES[0]:
        cases += [start(cluster, contender, "statement", None) for contender in installed(AWS_V2, AWS_LIMITED)]
    try:
        writer = cluster.writer
        writer.delay(silence.latency)
        if not silence.after:
            silence.begin(writer)
        for case in cases:
            assert case.process.stdin is not None
            print(file=case.process.stdin, flush=True)
        if silence.after:
            time.sleep(silence.after)
            silence.begin(writer)
        silent_at = time.monotonic()
        answers = answers_of(cases, silent_at + CAP_SECONDS)
    finally:
        for case in cases:
            case.process.kill()
            case.process.communicate()
    return [row(silence, case, answer, silent_at) for case, answer in zip(cases, answers, strict=True)]


def start(cluster: LocalCluster, contender: Contender, place: str, setting: tuple[int, int, int] | None) -> Case:
    bound = None
    if setting is not None:
        names = ("failure_detection_time_ms", "failure_detection_interval_ms", "failure_detection_count")
        options = {"plugins": "host_monitoring_v2", **dict(zip(names, setting, strict=True))}
        contender = replace(contender, options=options)
        bound = (setting[0] + setting[1] * setting[2]) / 1000 + 1
    command = [sys.executable, "-m", "benchmarks._hanging"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    order = {"database": cluster_database(contender, cluster), "place": place}
    print(json.dumps(order), file=process.stdin, flush=True)
    # One after the other: on a machine that is busy with all of them, a connect takes longer than it may.
    assert process.stdout is not None
    if (line := process.stdout.readline()) != "ready\n":
        raise SystemExit(f"{contender.title} cannot be brought to hang: {line}")
    return Case(contender, place, "/".join(map(str, setting or ())), bound, process)


def answers_of(cases: Sequence[Case], deadline: float) -> list[dict[str, Any] | None]:
    """What each process says in the end; None for one that is still hanging at the deadline."""
    answers: list[dict[str, Any] | None] = [None] * len(cases)
    with selectors.DefaultSelector() as selector:
        for number, case in enumerate(cases):
            assert case.process.stdout is not None
            selector.register(case.process.stdout, selectors.EVENT_READ, number)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                stdout = cases[key.data].process.stdout
                assert stdout is not None
                selector.unregister(stdout)
                answers[key.data] = json.loads(stdout.readline() or "null")
    return answers


def row(silence: Silence, case: Case, answer: dict[str, Any] | None, silent_at: float) -> list[str]:
    seconds, error = "never", ""
    if answer is not None:
        seconds = f"{answer['ended'] - max(answer['began'], silent_at):.2f}"
        error = answer["error"] or "none: it had ended before"
    bound = "-" if case.bound is None else f"{case.bound:.1f}"
    return [case.contender.title, f"{case.place}, {silence.title}", case.setting, bound, seconds, error]


if __name__ == "__main__":
    main()
