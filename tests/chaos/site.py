"""The Django project of a run, made for the cluster at hand; its time limits, and what follows from them."""

from __future__ import annotations

from typing import Any

from django_aurora_routing.lab import LocalCluster

ACCOUNTS, BALANCE = 12, 1000
PIN_SECONDS = 12.0
"""Longer than any reader is behind: one is frozen for six seconds at most, and has to catch up then."""

CONNECT_TIMEOUT = 4.0
DETECTION_MS, INTERVAL_MS, COUNT = 1500, 500, 2
FAILOVER_TIMEOUT = 15.0
LOCK_WAIT = 3

DETECTED_IN = max(CONNECT_TIMEOUT, (DETECTION_MS + INTERVAL_MS * COUNT) / 1000 + 1)
BOUND = 2 * (DETECTED_IN + FAILOVER_TIMEOUT) + 3 * LOCK_WAIT
"""Seconds that one operation may take: two losses, and a lock that is waited for at each of three attempts.

No scene has more than two, and none of its faults lasts as long as a search may.
"""


def configure(cluster: LocalCluster, engine: str) -> None:
    """Set Django up with an alias on the cluster's writer and one on its readers."""
    import django
    from django.conf import settings

    options: dict[str, Any] = {
        "cluster_instance_host_pattern": cluster.host_pattern,
        "connect_timeout": CONNECT_TIMEOUT,
        "failover_timeout_sec": FAILOVER_TIMEOUT,
        "failure_detection_time_ms": DETECTION_MS,
        "failure_detection_interval_ms": INTERVAL_MS,
        "failure_detection_count": COUNT,
        # A server cannot be made read-only while somebody waits for a row, and he waits for 50 s unless told.
        "init_command": f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT}",
    }
    database = {
        "ENGINE": f"django_aurora_routing.backends.{engine}",
        "NAME": cluster.default_database,
        "USER": cluster.user,
        "PASSWORD": cluster.password,
        "HOST": cluster.writer_endpoint.host,
        "PORT": cluster.port,
        "CONN_MAX_AGE": None,
    }
    reader = {**database, "OPTIONS": {**options, "read_only": True}, "TEST": {"MIRROR": "default"}}
    settings.configure(
        DATABASES={"default": {**database, "OPTIONS": options}, "reader": reader},
        DATABASE_ROUTERS=[
            "django_aurora_routing.routers.DynamicDbRouter",
            "django_aurora_routing.routers.ReadWriteRouter",
        ],
        INSTALLED_APPS=["django_aurora_routing", "tests.chaos"],
        AURORA_ROUTING=routing("lag"),
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        SECRET_KEY="a bank to be broken into",
    )
    django.setup()


def routing(policy: str) -> dict[str, Any]:
    return {"PIN_POLICY": policy, "PIN_SECONDS": PIN_SECONDS}


def open_bank(cluster: LocalCluster, pages: int) -> None:
    """Make the tables, the accounts, and a page for each thread; all instances have them afterwards."""
    from django.core.management import call_command

    from .models import Account, Page

    call_command("migrate", run_syncdb=True, verbosity=0)
    Account.objects.bulk_create(Account(id=number + 1, balance=BALANCE) for number in range(ACCOUNTS))
    Page.objects.bulk_create(Page(id=number + 1) for number in range(pages))
    cluster.catch_up()
