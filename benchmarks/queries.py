"""What a query costs: microseconds and round trips, all engines taking turns in one process.

`python -m benchmarks.queries [--quick]`. Twice: on one server, connected to directly, so that nothing lies between
engine and server; and on the lab's cluster, where each connection passes the lab's facade and each write waits for a
reader. A ratio of 1.00 is mysql.connector.django, the backend that comes with the driver. Without `--quick` the ratios
are also drawn, in docs/pictures/.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connections, transaction

from django_aurora_routing import release_resources
from django_aurora_routing.lab import LocalCluster, LocalServer

from ._contenders import ALL, AWS, MYSQLCLIENT, OURS, OURS_MYSQLCLIENT, PLAIN, Contender, database, installed
from ._picture import Series, picture, write_picture
from ._rows import CREATE_TABLE, row_model
from ._setting import implementation, machine, python, versions_of
from ._tables import print_table, with_ratio
from ._timing import Timed, timed
from ._wire import Trips, counted

ROWS = 100
COUNTED = 15  # times that round trips are counted
PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
DRAWN_PACKAGES = ("Django", "mysql-connector-python", "mysqlclient", "aws-advanced-python-wrapper")
DRAWN = (
    Series(PLAIN.key, PLAIN.title, "#9aa1ad"),
    Series(AWS.key, AWS.title, "#d9822b"),
    Series(OURS.key, OURS.title, "#2f7de1"),
    Series(MYSQLCLIENT.key, MYSQLCLIENT.title, "#c3a6d8"),
    Series(OURS_MYSQLCLIENT.key, OURS_MYSQLCLIENT.title, "#1f9d6b"),
)

Case = Callable[[str], object]


def main() -> None:
    """Start the servers, configure an alias for each engine and place, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    is_quick = parser.parse_args().quick
    rounds = 40 if is_quick else 400
    quieten()
    contenders = installed(*ALL)
    with ExitStack() as stack:
        places = [place(stack, lab) for lab in (LocalServer(), LocalCluster(readers=2))]
        databases = {
            alias_of(contender, at, is_counted): at.database(contender, is_counted)
            for at in places
            for contender in contenders
            for is_counted in (False, True)
        }
        settings.configure(DATABASES={"default": {}, **databases}, USE_TZ=False)
        django.setup()
        try:
            for at in places:
                at.fill()
                times = report(at, contenders, rounds)
                if not is_quick:
                    write_picture(PICTURES / f"queries-{at.key}.svg", drawn(at, times, rounds))
        finally:
            connections.close_all()
            release_resources()
            release_peer()


def quieten() -> None:
    """The peers and the driver warn of their own ways; the tables are to be seen here."""
    warnings.simplefilter("ignore")
    logging.getLogger("aws_advanced_python_wrapper").setLevel(logging.CRITICAL)


def release_peer() -> None:
    """Let the AWS wrapper end its threads, without which its process may not exit."""
    try:
        from aws_advanced_python_wrapper import release_resources as release
    except ImportError:
        return
    release()


class Place:
    """A server or a cluster, and two ways to it: one to be timed, and one that counts what passes."""

    def __init__(self, title: str, lab: LocalServer | LocalCluster, host: str, port: int) -> None:
        self.title = title
        self.key = "cluster" if isinstance(lab, LocalCluster) else "server"
        self.lab = lab
        self.host = host
        self.port = port
        self.counted_port = 0
        self.trips = Trips()

    def database(self, contender: Contender, is_counted: bool) -> dict[str, Any]:
        port = self.counted_port if is_counted else self.port
        pattern = f"{self.lab.host_pattern}:{port}" if isinstance(self.lab, LocalCluster) else None
        return database(contender, self.lab, host=self.host, port=port, pattern=pattern)

    def fill(self) -> None:
        server = self.lab.server if isinstance(self.lab, LocalServer) else self.lab.writer
        server.query(CREATE_TABLE)
        now = datetime.datetime(2025, 1, 2, 3, 4, 5, 678901)
        model = row_model()
        rows = [model(token="", name=f"Lamp {n}", price=f"{n}.95", quantity=n, made=now) for n in range(ROWS)]
        model.objects.using(f"ours_{self.key}").bulk_create(rows)
        if isinstance(self.lab, LocalCluster):
            self.lab.catch_up()


def place(stack: ExitStack, lab: LocalServer | LocalCluster) -> Place:
    """Start it, and the relays before it; both end with `stack`."""
    stack.enter_context(lab)
    if isinstance(lab, LocalServer):
        at = Place("One server, connected to directly", lab, "127.0.0.1", lab.server.direct_port)
        hosts = [at.host]
    else:
        endpoint = lab.writer_endpoint
        title = "A cluster, by its writer endpoint, through the lab's facade"
        at = Place(title, lab, endpoint.host, endpoint.port)
        hosts = [endpoint.host, *(instance.host for instance in lab.instances)]
    at.counted_port, at.trips = stack.enter_context(counted(hosts, at.port))
    return at


def alias_of(contender: Contender, at: Place, is_counted: bool) -> str:
    return f"{contender.key}_{at.key}{'_counted' if is_counted else ''}"


def cases() -> Mapping[str, tuple[Case, int]]:
    """Title, what it does on an alias, and how many of it make a round."""
    model = row_model()
    number = 0

    def select_1(alias: str) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()

    def get(alias: str) -> object:
        return model.objects.using(alias).get(pk=1)

    def update(alias: str) -> None:
        nonlocal number
        number += 1
        model.objects.using(alias).filter(pk=2).update(quantity=number)

    def rows(alias: str) -> None:
        assert len(model.objects.using(alias).all()) == ROWS

    def atomic_get(alias: str) -> None:
        with transaction.atomic(using=alias):
            get(alias)

    def connect(alias: str) -> None:
        connections[alias].close()
        select_1(alias)
        connections[alias].close()

    return {
        "SELECT 1": (select_1, 5),
        "get(pk)": (get, 5),
        "update()": (update, 1),
        f"{ROWS} rows": (rows, 1),
        "atomic + get": (atomic_get, 2),
        "connect + SELECT 1": (connect, 1),
    }


def report(at: Place, contenders: Sequence[Contender], rounds: int) -> dict[str, dict[str, Timed]]:
    times: dict[str, dict[str, Timed]] = {}
    trips: dict[str, list[str]] = {contender.key: [] for contender in contenders}
    for title, (case, calls) in cases().items():
        for contender in contenders:
            trips[contender.key].append(trips_of(case, alias_of(contender, at, True), at.trips))
        bound_cases = {contender.key: bound(case, alias_of(contender, at, False)) for contender in contenders}
        for call in bound_cases.values():
            call()
        times[title] = timed(bound_cases, rounds=rounds, calls=calls)
    print_table(
        f"{at.title}: microseconds (median of {rounds} rounds), x {contenders[0].title}",
        list(times),
        [
            [each.title, *(with_ratio(one[each.key].nanoseconds / 1000, one[each.key].ratio) for one in times.values())]
            for each in contenders
        ],
    )
    print_table(
        f"{at.title}: round trips, of which pings",
        list(times),
        [[each.title, *trips[each.key]] for each in contenders],
    )
    return times


def drawn(at: Place, times: dict[str, dict[str, Timed]], rounds: int) -> str:
    caption = (
        f"Medians of {rounds} rounds in which all took turns. In brackets, the time of one call. Shorter is better.",
        f"{python()}, {', '.join(versions_of(*DRAWN_PACKAGES))};"
        f" the connector {implementation()}. {machine()}, the servers on it too.",
    )
    return picture(at.title, DRAWN, times, PLAIN.title, caption)


def bound(case: Case, alias: str) -> Callable[[], object]:
    return lambda: case(alias)


def trips_of(case: Case, alias: str, trips: Trips) -> str:
    """Round trips of one call once everything is warm, and how many of them were pings."""
    case(alias)
    case(alias)
    counts = []
    for _ in range(COUNTED):
        trips.reset()
        case(alias)
        counts.append((trips.all, trips.pings))
    # A monitor's question may have come between some of them.
    every, pings = statistics.mode(counts)
    return f"{every} ({pings})" if pings else f"{every}"


if __name__ == "__main__":
    main()
