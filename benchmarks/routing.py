"""What routing costs: nanoseconds a call, ours beside django-dynamic-db-router where that is installed.

`python -m benchmarks.routing`. All contenders take turns in one run, so that a busy machine is busy for all of
them; the median of many short rounds counts, and the ratio says more than the number.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings

ROUNDS = 61
CALLS = 5000

Call = Callable[[], object]


def main() -> None:
    """Configure Django with SQLite files, measure, and print one line a measurement."""
    with tempfile.TemporaryDirectory() as folder:
        aliases = ("default", "reader", "external")
        settings.configure(
            DATABASES={alias: sqlite(Path(folder) / alias) for alias in aliases},
            INSTALLED_APPS=["django.contrib.contenttypes"],
            AURORA_ROUTING={"CLUSTERS": {"default": {"writer": "default", "readers": ["reader"]}}},
        )
        django.setup()
        for title, contenders, calls in measurements(sqlite(Path(folder) / "dynamic")):
            print(title)
            for line in lines(measured(contenders, calls)):
                print(line)


def sqlite(path: Path) -> dict[str, Any]:
    """A database of one file."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}


def measurements(config: dict[str, Any]) -> list[tuple[str, dict[str, Call], int]]:
    """Title, contenders (ours first) and calls a round of each measurement."""
    from django.contrib.contenttypes.models import ContentType as Model
    from django.db.utils import ConnectionRouter

    from django_aurora_routing.routers import DynamicDbRouter, ReadWriteRouter
    from django_aurora_routing.routing import in_database

    def reading(*routers: object) -> Call:
        router = ConnectionRouter(routers)
        return lambda: router.db_for_read(Model)

    def entering(make: Callable[..., Any], *args: Any) -> Call:
        def enter() -> None:
            with make(*args):
                pass

        return enter

    chain = {
        "ours, both routers": reading(DynamicDbRouter(), ReadWriteRouter()),
        "ours, DynamicDbRouter": reading(DynamicDbRouter()),
        "no router": reading(),
    }
    blocks = {"ours": entering(in_database, "external"), "ours, one object": reused(in_database("external"))}
    configs = {"ours": entering(in_database, config), "ours, one object": reused(in_database(config))}
    try:
        import dynamic_db_router as peer
    except ImportError:
        print("django-dynamic-db-router is not installed: ours alone")
    else:
        with peer.in_database("external"):
            pass  # it is faster in a thread that has had a block
        chain["dynamic-db-router"] = reading(peer.DynamicDbRouter())
        blocks["dynamic-db-router"] = entering(peer.in_database, "external")
        # Its blocks need a complete configuration.
        complete = {**settings.DATABASES["default"], "NAME": config["NAME"]}
        configs["dynamic-db-router"] = entering(lambda: peer.in_database(dict(complete)))
    return [
        ("router.db_for_read(), through Django's chain", chain, CALLS),
        ('with in_database("alias"): pass', blocks, CALLS),
        ("with in_database({...}): pass", configs, CALLS // 20),
    ]


def reused(block: Any) -> Call:
    """Entering one and the same block."""

    def enter() -> None:
        with block:
            pass

    return enter


def measured(contenders: dict[str, Call], calls: int) -> dict[str, float]:
    """The median nanoseconds of one call of each contender, the rounds interleaved."""
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            started = time.perf_counter_ns()
            for _ in range(calls):
                call()
            rounds[name].append((time.perf_counter_ns() - started) / calls)
    return {name: statistics.median(samples) for name, samples in rounds.items()}


def lines(medians: dict[str, float]) -> list[str]:
    """One line a contender, with how many times the first one's time it takes."""
    first = next(iter(medians.values()))
    return [f"  {name:<24}{median:>9.0f} ns   x {median / first:.2f}" for name, median in medians.items()]


if __name__ == "__main__":
    main()
