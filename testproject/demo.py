"""`make demo`: the shop on a cluster of real servers, whose writer is killed while the shop writes.

Starts the servers, shows where reads and writes go, kills, promotes, counts every row, and leaves nothing behind.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django_aurora_routing.lab import LocalCluster, LocalServer

BEGAN = time.monotonic()
WRITERS = 8  # threads; half of them in transactions
BEFORE_KILL, BEFORE_PROMOTION, AFTER_PROMOTION = 1.5, 1.0, 1.5  # seconds


def show(text: str) -> None:
    """One write a line, whatever the other threads have to say at the same moment."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def title(text: str) -> None:
    show(f"\n{text}\n{'-' * len(text)}")


def say(text: str) -> None:
    show(f"  {text}")


def progress(text: str) -> None:
    show(f"  [{time.monotonic() - BEGAN:5.1f} s] {text}")


class ProgressHandler(logging.Handler):
    """Shows each message of the log once; eight threads that lose their writer have eight times the same to say."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = f"log: {record.getMessage()}"
        if text not in self._shown:
            self._shown.add(text)
            progress(text)


@contextmanager
def servers() -> Iterator[tuple[LocalCluster, LocalServer]]:
    """The cluster, and the server that has nothing to do with it; Django's settings find them."""
    cluster = LocalCluster(readers=2, say=progress)
    other = LocalServer(databases=["app", "archive"], say=progress)
    with ExitStack() as stack:
        with ThreadPoolExecutor() as pool:
            for started in [pool.submit(stack.enter_context, lab) for lab in (cluster, other)]:
                started.result()
        os.environ.pop("SHOP_SQLITE", None)
        os.environ.update(
            SHOP_DB_HOST=cluster.writer_endpoint.host,
            SHOP_DB_PORT=str(cluster.port),
            SHOP_DB_INSTANCES=cluster.host_pattern,
            SHOP_DB_USER=cluster.user,
            SHOP_DB_PASSWORD=cluster.password,
            SHOP_DB_NAME=cluster.default_database or "",
            SHOP_EXTERNAL_HOST=other.host,
            SHOP_EXTERNAL_PORT=str(other.port),
            DJANGO_SETTINGS_MODULE="testproject.settings",
        )
        yield cluster, other


def migrate(cluster: LocalCluster, other: LocalServer) -> None:
    from django.core.management import call_command

    from testproject.shop.catalogue import fill_shelves

    for alias in ("default", "external"):
        progress(f"migrate --database={alias}")
        call_command("migrate", database=alias, verbosity=0)
    fill_shelves()
    # A database that the settings know nothing of, with the tables in it.
    for table in ("shop_product", "shop_stock"):
        other.server.query(f"CREATE TABLE archive.{table} LIKE app.{table}")
    cluster.catch_up()


def show_reads_and_writes(cluster: LocalCluster) -> None:
    from django.db import connections

    from django_aurora_routing import scope
    from testproject.shop.instances import instance_name
    from testproject.shop.models import Order, Product
    from testproject.shop.orders import place_order

    def read_once(_: int) -> str:
        try:
            with scope():  # as each request is: within one, no read may be older than the one before it
                found = Product.objects.all()
                assert len(found) == 4
                return instance_name(found.db)
        finally:
            connections.close_all()

    for customer in ("Ada", "Grace", "Barbara"):
        order = place_order(customer, {"TEA-11": 1, "MUG-07": 2})
        say(f"{customer}'s order was written by instance {order.written_by}")
    with ThreadPoolExecutor(1) as pool:
        answered = Counter(pool.map(read_once, range(12)))
    say(f"12 reads were answered by {', '.join(f'{name} ({n} x)' for name, n in sorted(answered.items()))}")
    cluster.catch_up()
    say(f"Order.objects.count() on a reader: {Order.objects.count()}")


def show_other_databases(other: LocalServer) -> None:
    from django.conf import settings

    from django_aurora_routing import in_database
    from testproject.shop.models import Product

    with in_database("external", write=True):
        Product.objects.create(sku="EXT-1", name="Only on the external server", price=1)
        say(f'in_database("external"): {Product.objects.count()} product, {Product.objects.get()}')
    archive = {
        "ENGINE": settings.DATABASES["external"]["ENGINE"],
        "NAME": "archive",
        "USER": other.user,
        "PASSWORD": other.password,
        "HOST": other.host,
        "PORT": other.port,
    }
    with in_database(archive, write=True):
        Product.objects.bulk_create(
            Product(sku=f"OLD-{number}", name=f"Archived {number}", price=1) for number in range(3)
        )
        say(f"in_database({{...}}), not in the settings: {Product.objects.count()} products")
    say(f"and outside the blocks, as before: {Product.objects.count()} products")


def run() -> bool:
    logging.getLogger("django_aurora_routing").addHandler(ProgressHandler())
    title("A writer and two readers, and a server of somebody else's")
    with servers() as (cluster, other):
        import django

        django.setup()
        from django.db import connections

        from django_aurora_routing import release_resources
        from testproject.load import Load

        for instance in cluster.instances:
            progress(f"instance {instance.id} is the {instance.role}: mariadbd, process {instance.pid}")
        directories, pids = [cluster.directory, other.directory], _pids(cluster, other)
        try:
            migrate(cluster, other)
            title("Writes go to the writer, reads to the readers")
            show_reads_and_writes(cluster)
            title("Other databases, for the length of a block")
            show_other_databases(other)
            title(f"kill -9 of the writer, under {WRITERS} threads that write")
            report = Load(cluster, threads=WRITERS, say=progress).run(
                before_kill=BEFORE_KILL, before_promotion=BEFORE_PROMOTION, after_promotion=AFTER_PROMOTION
            )
            title("What happened")
            for line in report.timeline():
                say(line)
            title("What the application saw, and what the database holds")
            for line in report.balance():
                say(line)
        finally:
            connections.close_all()
            release_resources()
    return report.is_clean & left_nothing(directories, pids)


def _pids(cluster: LocalCluster, other: LocalServer) -> list[int]:
    found = [instance.pid for instance in (*cluster.instances, other.server)]
    return [cluster.supervisor_pid, other.supervisor_pid, *filter(None, found)]


def left_nothing(directories: list[Path], pids: list[int]) -> bool:
    """Whether no process and no file of the servers is there any more; says so."""
    left = [str(directory) for directory in directories if directory.exists()]
    left += [f"process {pid}" for pid in pids if _is_alive(pid)]
    show("")
    progress(f"left behind: {', '.join(left)}" if left else "servers stopped, their files removed")
    return not left


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def main() -> int:
    try:
        good = run()
    except KeyboardInterrupt:
        progress("interrupted; servers stopped")
        return 130
    show("\nEvery promise was kept." if good else "\nA PROMISE WAS BROKEN, see above.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
