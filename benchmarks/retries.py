"""What a transaction costs that can be run again: one update() by id in each, all ways taking turns.

`python -m benchmarks.retries [--quick]`. On one server, and on the lab's cluster, where each COMMIT waits for a reader.
The ratio is to plain `atomic()`. The INSERT of exactly_once is one more round trip to the server.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import django
from django.conf import settings
from django.db import connections, transaction

from django_aurora_routing import release_resources, retry_on_failover
from django_aurora_routing.lab import LocalCluster, LocalServer

from ._contenders import OURS
from ._rows import row_model
from ._tables import print_table, with_ratio
from ._timing import timed
from .queries import Place, alias_of, place, quieten, trips_of

Way = Callable[[str], Callable[[], object]]


def main() -> None:
    """Start the servers, and print a line a way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    rounds = 60 if parser.parse_args().quick else 600
    quieten()
    with ExitStack() as stack:
        places = [place(stack, lab) for lab in (LocalServer(), LocalCluster(readers=2))]
        databases = {
            alias_of(OURS, at, is_counted): at.database(OURS, is_counted)
            for at in places
            for is_counted in (False, True)
        }
        settings.configure(
            DATABASES={"default": {}, **databases}, INSTALLED_APPS=["django_aurora_routing"], USE_TZ=False
        )
        django.setup()
        try:
            for at in places:
                report(at, rounds)
        finally:
            connections.close_all()
            release_resources()


def ways() -> dict[str, Way]:
    model = row_model()
    number = 0

    def update(alias: str) -> None:
        nonlocal number
        number += 1
        model.objects.using(alias).filter(pk=1).update(quantity=number)

    def of(decorate: Callable[[str], Any]) -> Way:
        return lambda alias: decorate(alias)(lambda: update(alias))

    return {
        "atomic()": of(lambda alias: transaction.atomic(using=alias)),
        "retry_on_failover()": of(lambda alias: retry_on_failover(alias)),
        "the same, exactly_once": of(lambda alias: retry_on_failover(alias, exactly_once=True)),
    }


def report(at: Place, rounds: int) -> None:
    from django_aurora_routing.models import CommitToken

    at.fill()
    alias, counted = alias_of(OURS, at, False), alias_of(OURS, at, True)
    with connections[alias].schema_editor() as editor:
        editor.create_model(CommitToken)
    trips = {name: trips_of(lambda alias, way=way: way(alias)(), counted, at.trips) for name, way in ways().items()}
    results = timed({name: way(alias) for name, way in ways().items()}, rounds=rounds, calls=1)
    print_table(
        f"{at.title}: a transaction with one update()",
        ["microseconds, x atomic()", "round trips"],
        [[name, with_ratio(one.nanoseconds / 1000, one.ratio), trips[name]] for name, one in results.items()],
    )


if __name__ == "__main__":
    main()
