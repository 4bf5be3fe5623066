"""What routing costs: nanoseconds a call, ours beside django-dynamic-db-router where that is installed.

`python -m benchmarks.routing`. All contenders take turns in one run, so that a busy machine is busy for all of
them; the median of many short rounds counts, and the ratio says more than the number.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from ._timing import Call, Timed, timed

ROUNDS = 61
CALLS = 5000


def main() -> None:
    """Configure Django with SQLite files, measure, and print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    rounds = ROUNDS // 10 if parser.parse_args().quick else ROUNDS
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
            for line in lines(timed(contenders, rounds=rounds, calls=calls)):
                print(line)


def sqlite(path: Path) -> dict[str, Any]:
    """A database of one file."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}


def measurements(config: dict[str, Any]) -> list[tuple[str, dict[str, Call], int]]:
    """Title, contenders (ours first) and calls a round of each measurement."""
    from django.contrib.contenttypes.models import ContentType as Model
    from django.db import connections
    from django.db.utils import ConnectionRouter

    from django_aurora_routing.routers import DynamicDbRouter, ReadWriteRouter
    from django_aurora_routing.routing import in_database
    from django_aurora_routing.routing.guard import guard

    def reading(*routers: object) -> Call:
        router = ConnectionRouter(routers)
        return lambda: router.db_for_read(Model)

    def entering(make: Callable[..., Any], *args: Any) -> Call:
        def enter() -> None:
            with make(*args):
                pass

        return enter

    read, write = str(Model.objects.filter(pk=1).query), f"UPDATE {Model._meta.db_table} SET model = %s"

    def guarding(alias: str, sql: str) -> Call:
        context = {"connection": connections[alias]}
        return lambda: guard(sent, sql, None, False, context)

    guarded = {
        "a reader's read": guarding("reader", read),
        "a writer's read": guarding("default", read),
        "a writer's write": guarding("default", write),
        "in no cluster": guarding("external", read),
        "no guard": lambda: sent(read, None, False, {}),
    }
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
        ("the look at each statement", guarded, CALLS),
    ]


def sent(sql: str, params: object, many: bool, context: object) -> None:
    """What an execute wrapper calls, without the database behind it."""


def reused(block: Any) -> Call:
    """Entering one and the same block."""

    def enter() -> None:
        with block:
            pass

    return enter


def lines(results: dict[str, Timed]) -> list[str]:
    """One line a contender, with how many times the first one's time it takes."""
    return [f"  {name:<24}{one.nanoseconds:>9.0f} ns   x {one.ratio:.2f}" for name, one in results.items()]


if __name__ == "__main__":
    main()
