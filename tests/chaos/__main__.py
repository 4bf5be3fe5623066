"""`python -m tests.chaos --minutes 5 --seed 7`: plays a schedule on a cluster that is at work, and says how it went."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from django_aurora_routing.lab import LocalCluster

from . import site
from .faults import Faults
from .figures import figures
from .ledger import Reading
from .schedule import schedule
from .verdict import CHECKS, Case, Stored, broken

CALM = 2.0
"""Seconds of peace at the end."""

BEGAN = time.monotonic()


def say(text: str) -> None:
    sys.stdout.write(f"[{time.monotonic() - BEGAN:6.1f} s] {text}\n")
    sys.stdout.flush()


def main() -> int:
    options = _options()
    seconds = options.seconds or options.minutes * 60
    command = f"make chaos SEED={options.seed} MINUTES={seconds / 60:g}" + (
        f" ENGINE={options.engine}" if options.engine != "mysql_connector" else ""
    )
    say(f"seed {options.seed}, {seconds:g} s, engine {options.engine}; again: {command}")
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    is_good = False
    try:
        is_good = run(options.seed, seconds, options.engine, directory)
    except KeyboardInterrupt:
        say("interrupted; servers stopped")
        is_good = True
        return 130
    finally:
        if is_good and not options.keep:
            shutil.rmtree(directory)
        else:
            say(f"ledgers, logs and stacks are in {directory}")
    say(f"every promise was kept: {command}" if is_good else f"A PROMISE WAS BROKEN: {command}")
    return 0 if is_good else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, help="instead of --minutes")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--engine", choices=("mysql_connector", "mysql"), default="mysql_connector")
    parser.add_argument("--keep", action="store_true", help="keep ledgers and logs of a good run, too")
    return parser.parse_args()


def run(seed: int, seconds: float, engine: str, directory: Path) -> bool:
    """Whether every promise was kept. The servers and all processes are gone afterwards, however it ends."""
    with LocalCluster(readers=2, say=say) as cluster:
        site.configure(cluster, engine)
        from .processes import Branches, Desk, Staff

        staff = Staff(seed, directory)
        site.open_bank(cluster, staff.pages)
        faults = Faults(cluster, schedule(seed, seconds, [one.id for one in cluster.instances]), say)
        reading = Reading(directory)
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        branches = Branches(staff)
        try:
            desk = Desk(staff, 0)
            desk.open(here=False)
            faults.start()
            _watch(faults, reading, seconds)
            cluster.heal()
            say("all instances are back")
            time.sleep(CALM)
            trouble = [faults.trouble] if faults.trouble else []
            if not desk.close():
                trouble.append("threads of the first process did not come to their end")
            codes = branches.close()
            trouble += [f"process {pid} ended with {code}" for pid, code in codes.items() if code != 0]
        finally:
            faults.stop.set()
            branches.kill()
        reading.go_on()
        case = Case(reading.entries, _stored(cluster), site.BALANCE, staff.names, trouble)
    for line in figures(case, faults.done):
        say(line)
    found = broken(case)
    for promise in CHECKS:
        if promise not in {one.promise for one in found}:
            say(f"kept: {promise}")
    for one in found:
        for line in one.lines():
            say(line)
    return not found


def _watch(faults: Faults, reading: Reading, seconds: float) -> None:
    """Show how it goes until the schedule is at its end."""
    counts: Counter[str] = Counter()
    while faults.is_alive():
        faults.join(5.0)
        for entry in reading.go_on():
            counts[entry["kind"] if entry.get("fate", "done") == "done" else entry["error"]] += 1
        shown = {kind: number for kind, number in counts.items() if kind not in ("begun", "end")}
        say(", ".join(f"{number} x {kind}" for kind, number in sorted(shown.items())))


def _stored(cluster: LocalCluster) -> Stored:
    cluster.catch_up()
    tables = {"chaos_account": "id, balance", "chaos_transfer": "name, payer, payee, amount"}
    tables |= {"chaos_receipt": "name", "chaos_page": "id, version"}
    seen = {
        instance.id: {
            table: sorted(instance.query(f"SELECT {columns} FROM app.{table}")) for table, columns in tables.items()
        }
        for instance in cluster.instances
    }
    writer = seen[cluster.writer.id]
    return Stored(
        balances=dict(writer["chaos_account"]),
        transfers=[(name, payer, payee, amount) for name, payer, payee, amount in writer["chaos_transfer"]],
        receipts=[name for (name,) in writer["chaos_receipt"]],
        pages=dict(writer["chaos_page"]),
        differing=[
            f"{table} on instance {reader}"
            for reader, has in seen.items()
            for table in tables
            if has[table] != writer[table]
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
