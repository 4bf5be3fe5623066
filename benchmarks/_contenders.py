"""Who is measured, and on what: the engines, and the aliases that lead each of them to the same server."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django_aurora_routing.lab import LocalCluster, LocalServer

OUR_ENGINE = "django_aurora_routing.backends.mysql_connector"
OUR_MYSQLCLIENT_ENGINE = "django_aurora_routing.backends.mysql"
AWS_ENGINE = "aws_advanced_python_wrapper.django.backends.mysql_connector"


@dataclass(frozen=True)
class Contender:
    """An engine with its options. `package` is what has to be importable for it."""

    key: str
    title: str
    engine: str
    package: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None

    @property
    def knows_clusters(self) -> bool:
        return self.engine in (OUR_ENGINE, OUR_MYSQLCLIENT_ENGINE, AWS_ENGINE)


PLAIN = Contender("plain", "mysql.connector.django", "mysql.connector.django", "mysql.connector")
OURS = Contender("ours", "ours", OUR_ENGINE, "mysql.connector")
OURS_BARE = Contender("ours_bare", 'ours, plugins ""', OUR_ENGINE, "mysql.connector", {"plugins": ""})
AWS = Contender("aws", "AWS wrapper", AWS_ENGINE, "aws_advanced_python_wrapper")
AWS_V2 = Contender("aws_v2", "AWS wrapper, failover_v2", AWS_ENGINE, AWS.package, {"plugins": "failover_v2"})
MYSQLCLIENT = Contender("mysqlclient", "Django on mysqlclient", "django.db.backends.mysql", "MySQLdb")
OURS_MYSQLCLIENT = Contender("ours_mysqlclient", "ours on mysqlclient", OUR_MYSQLCLIENT_ENGINE, "MySQLdb")
ALL = (PLAIN, OURS, OURS_BARE, AWS, AWS_V2, MYSQLCLIENT, OURS_MYSQLCLIENT)


def installed(*wanted: Contender) -> list[Contender]:
    """Those of `wanted` that can be measured here; the others are named on the screen."""
    for contender in wanted:
        if not contender.is_installed:
            print(f"{contender.title} is not measured: {contender.package} is not installed")
    return [contender for contender in wanted if contender.is_installed]


def database(
    contender: Contender, lab: LocalCluster | LocalServer, *, host: str, port: int, pattern: str | None = None
) -> dict[str, Any]:
    """An entry of DATABASES. `pattern` is the cluster's instance host pattern, for those who ask for one."""
    options = dict(contender.options)
    if contender.knows_clusters:
        options["cluster_id"] = f"{lab.name} {host}:{port}"
        if pattern is not None:
            options["cluster_instance_host_pattern"] = pattern
    return {
        "ENGINE": contender.engine,
        "NAME": lab.default_database,
        "USER": lab.user,
        "PASSWORD": lab.password,
        "HOST": host,
        "PORT": port,
        "CONN_MAX_AGE": None,
        "OPTIONS": options,
    }


def cluster_database(contender: Contender, cluster: LocalCluster) -> dict[str, Any]:
    """The writer endpoint of the lab's cluster."""
    endpoint = cluster.writer_endpoint
    return database(contender, cluster, host=endpoint.host, port=endpoint.port, pattern=cluster.host_pattern)
