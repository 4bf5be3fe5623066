"""What a short connection costs, as each request of a project without CONN_MAX_AGE makes one: with a pool and without.

`python -m benchmarks.pools [--quick]`. Microseconds from nothing to the answer of a SELECT, and for closing after it,
all contenders taking turns in one process, on the lab's cluster. A ratio of 1.00 is mysql.connector.django. The AWS
wrapper's pool is its SqlAlchemyPooledConnectionProvider, which a project sets by code.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import django
from django.conf import settings
from django.db import connections

from django_aurora_routing import release_resources
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
from .queries import quieten, release_peer

ROUNDS, QUICK_ROUNDS = 150, 20
CALLS = 4

Provide = Callable[[bool], None]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = QUICK_ROUNDS if parser.parse_args().quick else ROUNDS
    quieten()
    contenders = list(with_pools(installed(PLAIN, MYSQLCLIENT, OURS, OURS_BARE, OURS_MYSQLCLIENT, AWS_V2)))
    with LocalCluster(readers=2) as cluster:
        databases = {
            contender.key: {**cluster_database(contender, cluster), "CONN_MAX_AGE": 0} for contender in contenders
        }
        settings.configure(DATABASES={"default": {}, **databases}, USE_TZ=False)
        django.setup()
        provide = provider_of_peer() if any(contender.key == "aws_v2_pool" for contender in contenders) else None
        try:
            report(contenders, measured([contender.key for contender in contenders], rounds, provide))
        finally:
            if provide is not None:
                provide(False)
            connections.close_all()
            release_resources()
            release_peer()


def with_pools(contenders: list[Contender]) -> list[Contender]:
    """Each of ours, and the AWS wrapper, once more with a pool."""
    found = []
    for contender in contenders:
        found.append(contender)
        if contender.knows_clusters:
            options = dict(contender.options) if contender is AWS_V2 else {**contender.options, "pool": True}
            title = f"{contender.title}, pool"
            found.append(replace(contender, key=f"{contender.key}_pool", title=title, options=options))
    return found


def provider_of_peer() -> Provide:
    """Sets or removes the AWS wrapper's provider, which is one for the process."""
    from aws_advanced_python_wrapper.connection_provider import ConnectionProviderManager
    from aws_advanced_python_wrapper.sql_alchemy_connection_provider import SqlAlchemyPooledConnectionProvider

    # Unless it is told so, it has pools for names of RDS's instances alone.
    provider = SqlAlchemyPooledConnectionProvider(accept_url_func=lambda host, properties: True)

    def provide(is_wanted: bool) -> None:
        if is_wanted:
            ConnectionProviderManager.set_connection_provider(provider)
        else:
            ConnectionProviderManager.reset_provider()

    return provide


def once(alias: str) -> tuple[int, int]:
    """Nanoseconds until the answer, and for closing."""
    began = time.perf_counter_ns()
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()
    answered = time.perf_counter_ns()
    connections[alias].close()
    return answered - began, time.perf_counter_ns() - answered


def measured(aliases: list[str], rounds: int, provide: Provide | None) -> dict[str, list[tuple[float, float]]]:
    """For each alias the mean times of each round; what slows a round down slows all of them down."""
    found: dict[str, list[tuple[float, float]]] = {alias: [] for alias in aliases}
    order, rng = list(aliases), random.Random(1)
    for number in range(rounds + 1):
        rng.shuffle(order)
        for alias in order:
            if provide is not None and alias.startswith(AWS_V2.key):
                provide(alias.endswith("_pool"))
            times = [once(alias) for _ in range(CALLS)]
            if number:  # the first round meets the cluster, and fills the pools
                found[alias].append(tuple(statistics.mean(column) for column in zip(*times, strict=True)))  # type: ignore[arg-type]
    return found


def report(contenders: list[Contender], found: dict[str, list[tuple[float, float]]]) -> None:
    base = [sum(times) for times in found[contenders[0].key]]
    rows: list[list[Any]] = []
    for contender in contenders:
        answers, ends = zip(*found[contender.key], strict=True)
        totals = [sum(times) for times in found[contender.key]]
        ratio = statistics.median(total / one for total, one in zip(totals, base, strict=True))
        figures = [statistics.median(column) / 1000 for column in (answers, ends, totals)]
        rows.append([contender.title, f"{figures[0]:.0f}", f"{figures[1]:.0f}", with_ratio(figures[2], ratio)])
    title = f"Microseconds of a connection for one SELECT: medians of {len(base)} rounds, x {contenders[0].title}"
    print_table(title, ["to the answer", "to close", "together"], rows)


if __name__ == "__main__":
    main()
