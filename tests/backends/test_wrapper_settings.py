"""A settings file written for the AWS wrapper works with our ENGINE in place of its own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from django.db import connections

from django_aurora_routing.backends.wiring import parse_settings
from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import insert, kill_and_promote, rows
from .test_placement import server_of


@pytest.mark.parametrize("plugins", ["failover,host_monitoring_v2", "read_write_splitting,failover", "failover_v2"])
def test_the_samples_of_its_django_page(cluster: LocalCluster, aliases: Aliases, table: str, plugins: str) -> None:
    sample: dict[str, Any] = {"plugins": plugins, "connect_timeout": 10, "autocommit": True}
    writer = aliases.add("default-sample", **copy.deepcopy(sample))
    reader = aliases.add("read-sample", **copy.deepcopy(sample), read_only=True)
    insert(writer, 1)
    assert server_of(reader) in {instance.id for instance in cluster.readers}
    kill_and_promote(cluster)
    insert(writer, 2)
    assert rows(cluster) == [1, 2]
    assert connections[writer].settings_dict["OPTIONS"].items() >= sample.items()


def test_options_of_the_wrong_kind_are_named_by_their_kind_since_a_password_may_be_in_them() -> None:
    parsed = parse_settings({"OPTIONS": [("password", "s3cr3t")]}, {"password"}, {})
    (said,) = map(str, parsed.problems)
    assert said == "OPTIONS: must be a dictionary, not a list."
