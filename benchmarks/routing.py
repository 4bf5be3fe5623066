"""What routing costs: nanoseconds a call, ours beside the routers that people use now, where these are installed.

`python -m benchmarks.routing`. All contenders take turns in one run, so that a busy machine is busy for all of
them; the median of many short rounds counts, and the ratio says more than the number. Ours are asked in Django's own
chain, as DATABASE_ROUTERS sets it up; a peer is alone in a chain of its own.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from ._timing import Call, Timed, timed

ROUNDS = 61
CALLS = 5000
ALIASES = ("default", "reader", "external")


def main() -> None:
    """Configure Django with SQLite files, measure, and print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    parser.add_argument("--only", default="", help="only measurements with this in their title")
    arguments = parser.parse_args()
    rounds = ROUNDS // 10 if arguments.quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        settings.configure(
            DATABASES={alias: sqlite(Path(folder) / alias) for alias in ALIASES},
            DATABASE_ROUTERS=[
                f"django_aurora_routing.routers.{name}" for name in ("DynamicDbRouter", "ReadWriteRouter")
            ],
            INSTALLED_APPS=["django.contrib.contenttypes", "django_aurora_routing"],
            AURORA_ROUTING={"CLUSTERS": {"default": {"writer": "default", "readers": ["reader"]}}},
            REPLICA_DATABASES=["reader"],
        )
        django.setup()
        for measurement in (reads, reads_elsewhere, blocks, other_blocks, configurations, statements, requests):
            title, contenders, calls = measurement(Path(folder))
            if arguments.only in title:
                print(title)
                for line in lines(timed(contenders, rounds=rounds, calls=calls)):
                    print(line)


Measurement = tuple[str, dict[str, Call], int]
"""Title, contenders (ours first), and calls a round."""


def sqlite(path: Path) -> dict[str, Any]:
    """A database of one file."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}


class PrimaryReplicaRouter:
    """As in https://docs.djangoproject.com/en/stable/topics/db/multi-db/#an-example."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return random.choice(["reader", "external"])


def reads(_: Path) -> Measurement:
    from django.contrib.contenttypes.models import ContentType
    from django.db import router

    contenders = {
        "ours, both routers": lambda: router.db_for_read(ContentType),
        **{name: asking(made) for name, made in peers().items()},
        "of Django's docs": asking(PrimaryReplicaRouter()),
        "no router": asking(),
    }
    return "router.db_for_read(Model), through Django's chain", contenders, CALLS


def asking(*routers: object) -> Call:
    """A read that is routed by these."""
    from django.contrib.contenttypes.models import ContentType
    from django.db.utils import ConnectionRouter

    router = ConnectionRouter(routers)
    return lambda: router.db_for_read(ContentType)


def peers() -> dict[str, object]:
    """The routers of others that are installed, by name."""
    found: dict[str, object] = {}
    try:
        import dynamic_db_router

        with dynamic_db_router.in_database("external"):
            pass  # it is faster in a thread that has had a block
        found["dynamic-db-router"] = dynamic_db_router.DynamicDbRouter()
    except ImportError:
        pass
    try:
        import multidb

        multidb.pinning.unpin_this_thread()  # it is faster in a thread that has been pinned
        found["multidb, ReplicaRouter"] = multidb.ReplicaRouter()
        found["multidb, Pinning"] = multidb.PinningReplicaRouter()
    except ImportError:
        pass
    return found


def reads_elsewhere(_: Path) -> Measurement:
    from django.contrib.contenttypes.models import ContentType
    from django.db import router, transaction

    from django_aurora_routing.routing import in_database
    from django_aurora_routing.routing.blocks import in_reader, in_writer
    from django_aurora_routing.routing.scopes import mark_written, scope

    def read() -> None:
        router.db_for_read(ContentType)

    def pinned() -> None:
        mark_written()

    def inside(make: Callable[[], Any], before: Callable[[], None] = lambda: None) -> Call:
        """A hundred reads inside: entering is not what is measured."""

        def call() -> None:
            with scope(), make():
                before()
                for _ in range(100):
                    read()

        return call

    instances = {alias: ContentType() for alias in ALIASES}
    for alias, instance in instances.items():
        instance._state.db = alias

    def with_instance(alias: str) -> Call:
        instance = instances[alias]

        def call() -> None:
            for _ in range(100):
                router.db_for_read(ContentType, instance=instance)

        return call

    contenders = {
        "of this scope's reader": inside(scope),
        "in in_database('external')": inside(lambda: in_database("external")),
        "in in_writer()": inside(in_writer),
        "in in_reader()": inside(in_reader),
        "after a write (pinned)": inside(scope, pinned),
        "in transaction.atomic()": inside(transaction.atomic),
        **{f"instance of {alias!r}": with_instance(alias) for alias in ALIASES},
    }
    return "100 x router.db_for_read(Model), ours, where more is to be asked", contenders, CALLS // 100


def blocks(_: Path) -> Measurement:
    from django_aurora_routing.routing import in_database

    contenders = {"ours": entering(in_database, "external")}
    others = {
        "ours, one object": reused(in_database("external")),
        "ours, decorated call": in_database("external")(empty),
    }
    try:
        import dynamic_db_router
    except ImportError:
        print("django-dynamic-db-router is not installed: ours alone")
        return 'with in_database("alias"): pass', {**contenders, **others}, CALLS
    peer = dynamic_db_router.in_database
    contenders["dynamic-db-router"] = entering(peer, "external")
    others["dynamic-db-router, one object"] = reused(peer("external"))
    others["dynamic-db-router, decorated call"] = peer("external")(empty)
    return 'with in_database("alias"): pass', {**contenders, **others}, CALLS


def other_blocks(_: Path) -> Measurement:
    from django_aurora_routing.routing.blocks import in_writer, prevent_writes
    from django_aurora_routing.routing.scopes import scope

    contenders = {
        "ours, in_writer()": entering(in_writer),
        "ours, in_writer(), one object": reused(in_writer()),
        "ours, prevent_writes()": entering(prevent_writes),
        "ours, scope()": entering(scope),
    }
    try:
        from multidb.pinning import use_primary_db
    except ImportError:
        pass
    else:
        contenders["multidb, use_primary_db"] = reused(use_primary_db)
    return "other blocks", contenders, CALLS


def configurations(folder: Path) -> Measurement:
    from django_aurora_routing.routing import in_database

    config = sqlite(folder / "dynamic")
    contenders = {"ours": entering(in_database, config), "ours, one object": reused(in_database(config))}
    try:
        import dynamic_db_router
    except ImportError:
        pass
    else:
        # Its blocks need a complete configuration.
        complete = {**settings.DATABASES["default"], "NAME": config["NAME"]}
        contenders["dynamic-db-router"] = entering(lambda: dynamic_db_router.in_database(dict(complete)))
    return "with in_database({...}): pass", contenders, CALLS // 20


def statements(_: Path) -> Measurement:
    from django.db import connections

    from django_aurora_routing.routing.guard import guard

    def executing(alias: str, sql: str, *, guarded: bool = True) -> Call:
        connection = connections.create_connection(alias)
        connection.ensure_connection()
        if not guarded:
            connection.execute_wrappers.remove(guard)
        cursor = connection.cursor()
        return lambda: cursor.execute(sql, None)

    select, write = "SELECT 1", "UPDATE django_content_type SET app_label = '' WHERE id = 0"
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE TABLE django_content_type (id integer PRIMARY KEY, app_label text)")
    contenders = {
        "SELECT, guarded writer": executing("default", select),
        "SELECT, guarded reader": executing("reader", select),
        "SELECT, guarded, no cluster": executing("external", select),
        "SELECT, no guard": executing("default", select, guarded=False),
        "UPDATE, guarded writer": executing("default", write),
        "UPDATE, no guard": executing("default", write, guarded=False),
    }
    return "cursor.execute() on SQLite, for what the guard adds", contenders, CALLS // 10


def requests(_: Path) -> Measurement:
    from django.http import HttpRequest, HttpResponse

    from django_aurora_routing.middleware import ReadYourWritesMiddleware
    from django_aurora_routing.routing import scopes

    request, response = HttpRequest(), HttpResponse()
    request.method = "GET"

    def served_by(middleware: Callable[..., Any]) -> Call:
        serve = middleware(lambda request: response)

        def call() -> None:
            scopes._begin_request()
            serve(request)
            scopes._end_request()

        return call

    def begin_and_end() -> None:
        scopes._begin_request()
        scopes._end_request()

    contenders = {
        "ours, scope and middleware": served_by(ReadYourWritesMiddleware),
        "ours, scope of a request": begin_and_end,
    }
    try:
        from multidb.middleware import PinningRouterMiddleware
    except ImportError:
        pass
    else:
        pinning = PinningRouterMiddleware(lambda request: response)
        contenders["multidb, PinningRouterMiddleware"] = lambda: pinning(request)
    return "a request that writes nothing", contenders, CALLS // 10


def empty() -> None:
    """What is decorated."""


def entering(make: Callable[..., Any], *args: Any) -> Call:
    """Making a block and entering it."""

    def enter() -> None:
        with make(*args):
            pass

    return enter


def reused(block: Any) -> Call:
    """Entering one and the same block."""

    def enter() -> None:
        with block:
            pass

    return enter


def lines(results: dict[str, Timed]) -> list[str]:
    """One line a contender, with how many times the first one's time it takes."""
    return [f"  {name:<36}{one.nanoseconds:>9.0f} ns   x {one.ratio:.2f}" for name, one in results.items()]


if __name__ == "__main__":
    main()
