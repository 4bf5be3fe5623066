"""Aliases on a real cluster, known to Django for the length of one test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from django_aurora_routing import release_resources
from django_aurora_routing.lab import LocalCluster

ENGINE = "django_aurora_routing.backends." + os.environ.get("AURORA_TEST_ENGINE", "mysql_connector")
"""The engine that these tests run on: mysql_connector, or mysql as in `tox -e mysqlclient`."""
ON_MYSQLCLIENT = ENGINE.endswith(".mysql")

_numbers = itertools.count()


class Aliases:
    """Adds aliases to `django.db.connections` and takes them out again."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self._cluster_id = f"{cluster.name}-{next(_numbers)}"  # what another test has learnt is not known here
        self._added: list[str] = []

    def add(self, alias: str, *, host: str | None = None, port: int | None = None, **conf: Any) -> str:
        """Make an alias on the writer endpoint, unless told otherwise. Lower-case names are OPTIONS."""
        options = {"cluster_instance_host_pattern": self.cluster.host_pattern, "cluster_id": self._cluster_id}
        options |= {name: value for name, value in conf.items() if not name.isupper()}
        settings = {
            "ENGINE": ENGINE,
            "NAME": "app",
            "USER": self.cluster.user,
            "PASSWORD": self.cluster.password,
            "HOST": host or self.cluster.writer_endpoint.host,
            "PORT": port or self.cluster.writer_endpoint.port,
            "CONN_MAX_AGE": None,
            "OPTIONS": {name: value for name, value in options.items() if value is not ...},
            **{name: value for name, value in conf.items() if name.isupper()},
        }
        connections.configure_settings({"default": {}, alias: settings})
        self._rebind({**connections.settings, alias: settings})
        self._added.append(alias)
        return alias

    def remove_all(self) -> None:
        for alias in self._added:
            connections[alias].close()
            del connections[alias]
        self._rebind({name: conf for name, conf in connections.settings.items() if name not in self._added})

    def _rebind(self, settings: dict[str, Any]) -> None:
        # In one step, since other threads may be iterating.
        connections.__dict__["settings"] = connections._settings = settings


@pytest.fixture
def aliases(cluster: LocalCluster, django_db_blocker: Any) -> Iterator[Aliases]:
    # No clusters for the routing layer: which aliases a test has added is not what it is about.
    with django_db_blocker.unblock(), override_settings(AURORA_ROUTING={"CLUSTERS": {}}):
        made = Aliases(cluster)
        yield made
        made.remove_all()
    release_resources()


@pytest.fixture
def table(cluster: LocalCluster) -> str:
    """An empty table `t`, there on all instances."""
    cluster.writer.query("DROP TABLE IF EXISTS app.t")
    cluster.writer.query("CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(50))")
    return "t"
