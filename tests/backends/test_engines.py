"""The engines beside each other: each in one process with the other, with and without mysqlclient."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections

from django_aurora_routing.lab import LocalCluster

from .conftest import Aliases
from .test_failover import insert, kill_and_promote, rows
from .test_placement import server_of

CONNECTOR, MYSQLCLIENT = "django_aurora_routing.backends.mysql_connector", "django_aurora_routing.backends.mysql"
needs_mysqlclient = pytest.mark.skipif(
    importlib.util.find_spec("MySQLdb") is None, reason="mysqlclient is not installed (tox -e mysqlclient)"
)
LOAD = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *args):
        return None if name.split(".")[0] in {hidden} else self.finder.find_spec(name, *args)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from django.conf import settings
settings.configure()
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import load_backend
for engine in {engines}:
    try:
        print(load_backend(engine).DatabaseWrapper.Database.__name__)
    except ImproperlyConfigured as exc:
        print(exc)
"""


def loaded(*engines: str, hidden: tuple[str, ...] = ()) -> str:
    """What comes of loading the engines, one after the other, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD.format(engines=engines, hidden=hidden)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_mysqlclient
@pytest.mark.parametrize("engines", [(CONNECTOR, MYSQLCLIENT), (MYSQLCLIENT, CONNECTOR)])
def test_both_engines_are_loaded_in_any_order(engines: tuple[str, str]) -> None:
    names = {CONNECTOR: "mysql.connector", MYSQLCLIENT: "MySQLdb"}
    assert loaded(*engines).split() == [names[engine] for engine in engines]


@pytest.mark.parametrize("engines", [(CONNECTOR, MYSQLCLIENT), (MYSQLCLIENT, CONNECTOR)])
def test_without_mysqlclient_its_engine_says_how_to_get_it_and_the_other_works(engines: tuple[str, str]) -> None:
    said = loaded(*engines, hidden=("MySQLdb",))
    assert "pip install 'django-aurora-routing[mysqlclient]'" in said
    assert "mysql.connector" in said.split("\n")


@needs_mysqlclient
def test_the_engine_over_mysqlclient_does_without_the_connector() -> None:
    assert loaded(MYSQLCLIENT, hidden=("mysql",)) == "MySQLdb"


@needs_mysqlclient
def test_both_engines_follow_one_clusters_failover(cluster: LocalCluster, aliases: Aliases, table: str) -> None:
    one, other = aliases.add("c", ENGINE=CONNECTOR), aliases.add("m", ENGINE=MYSQLCLIENT)
    insert(one, 1)
    insert(other, 2)
    assert connections[one].known_cluster() is not connections[other].known_cluster()
    for round_ in (10, 20):
        kill_and_promote(cluster)
        insert(one, round_ + 1)
        insert(other, round_ + 2)
        assert server_of(one) == server_of(other) == cluster.writer.id
    assert rows(cluster) == [1, 2, 11, 12, 21, 22]
