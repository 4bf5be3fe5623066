"""DESIGN's layer rules, held by reading every import in the package: imports go down only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "django_aurora_routing"
ROOT = Path(__file__).resolve().parent.parent

DJANGO = {"django", "asgiref"}
DRIVERS = {"mysql", "_mysql_connector", "MySQLdb", "psycopg", "psycopg2"}
AWS = {"boto3", "botocore"}
SHARED = {"errors", "conf", "signals", "forks"}
BELOW_BACKENDS = {"core", "drivers", "dialects", "aws", "cluster", "plugins", *SHARED}
EVERYTHING_BUT_LAB = {*BELOW_BACKENDS, "config", "routing", "routers", "middleware", "backends", "testing", "__init__"}


@dataclass(frozen=True)
class Room:
    """What a room may import: other rooms of the package, and packages that are not Python's own."""

    rooms: set[str]
    packages: set[str]
    not_even: frozenset[str] = frozenset()  # modules of the standard library it must do without


# From the ground up. A room is a folder or a module at the top of the package; each may import itself.
HOUSE = {
    "core": Room(set(), set(), frozenset({"threading", "time", "logging", "asyncio", "socket", "os", "subprocess"})),
    "forks": Room(set(), {"uwsgi", "uwsgidecorators"}),
    "drivers": Room({"core", "forks"}, DRIVERS),
    "dialects": Room({"core"}, set(), frozenset({"threading", "time", "socket"})),
    "aws": Room({"core", "forks"}, AWS),
    "errors": Room({"core"}, DJANGO),
    "conf": Room({"core", "errors"}, DJANGO),
    "config": Room(set(), {"django", "dj_database_url"}),
    "signals": Room({"core", "errors"}, DJANGO),
    "cluster": Room({"core", "drivers", "dialects", "aws", *SHARED}, {"sqlalchemy"}),
    "plugins": Room({"core", "forks"}, set()),
    "routing": Room({"core", *SHARED}, DJANGO),
    "routers": Room({"core", "routing", *SHARED}, DJANGO),
    "middleware": Room({"core", "retries", "routing", *SHARED}, DJANGO),
    "contrib": Room({"core", "routing", *SHARED}, {*DJANGO, "celery"}),
    "retries": Room({"core", "routing", *SHARED}, DJANGO),
    "models": Room({"retries"}, DJANGO),
    "migrations": Room(set(), DJANGO),
    "backends": Room(BELOW_BACKENDS, DJANGO),
    "testing": Room(EVERYTHING_BUT_LAB, {*DJANGO, "pytest"}),
    "checks": Room(EVERYTHING_BUT_LAB, DJANGO),
    "apps": Room({*EVERYTHING_BUT_LAB, "checks"}, DJANGO),
    "admin": Room({*EVERYTHING_BUT_LAB, "apps", "checks"}, DJANGO),
    "management": Room({*EVERYTHING_BUT_LAB, "apps", "checks"}, DJANGO),
    "lab": Room(set(), {"mysql", "pytest"}),
    "__init__": Room({"backends", "cluster", "retries", "routing", *SHARED}, set()),
}
# Core and dialects are given chance and are never its source: of `random` they may name the type alone.
ONLY_THE_TYPE_RANDOM = {"core", "dialects"}
# Only the composition root makes or finds a cluster; the rest of backends/ is handed one. (The package's own
# __init__ passes release_resources() on.)
ONLY_FROM = {"cluster.registry": {"cluster", "backends.wiring", PACKAGE}}


@dataclass(frozen=True)
class Import:
    """One imported module, and where: `target` is absolute, for `from x import y` it is x.y."""

    line: int
    target: str


def imports(module: str, source: str, *, is_package: bool = False) -> Iterator[Import]:
    """Yield what `source`, the text of `module`, imports, at any depth, for type checkers too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parents = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parents, *filter(None, [node.module])])
            yield from (Import(node.lineno, f"{base}.{alias.name}") for alias in node.names)


def room_of(module: str) -> str:
    """The room that `module` of the package is in; `__init__` for what stands in the package itself."""
    name = module.removeprefix(PACKAGE).strip(".").split(".")[0]
    return name if name in HOUSE else "__init__"


def is_within(module: str, parent: str) -> bool:
    return f"{module}.".startswith(f"{parent}.")


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Say, a line each, which imports of `module` the house does not allow."""
    name = room_of(module)
    room = HOUSE[name]
    inside = module.removeprefix(f"{PACKAGE}.")
    found = []
    for item in imports(module, source, is_package=is_package):
        top = item.target.split(".")[0]
        if top == PACKAGE:
            target = item.target.removeprefix(f"{PACKAGE}.")
            wanted = room_of(item.target)
            if wanted != name and wanted not in room.rooms:
                found.append(f"{inside}:{item.line} {name} may not import {wanted} ({item.target})")
            found += [
                f"{inside}:{item.line} only {', '.join(sorted(allowed))} may import {guarded}"
                for guarded, allowed in ONLY_FROM.items()
                if is_within(target, guarded) and not any(is_within(inside, who) for who in allowed)
            ]
        elif top in room.not_even or (top not in sys.stdlib_module_names and top not in room.packages):
            found.append(f"{inside}:{item.line} {name} may not import {top}")
    if name in ONLY_THE_TYPE_RANDOM:
        found += [f"{inside}:{line} {name} may name random.Random only" for line in uses_of_chance(source)]
    return found


def uses_of_chance(source: str) -> list[int]:
    """The lines that use more of `random` than its type, or that call the type."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            lines.append(node.lineno)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            if node.attr != "Random":
                lines.append(node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "random.Random":
            lines.append(node.lineno)
    return lines


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    path = MODULES[module]
    assert violations(module, path.read_text(), is_package=path.name == "__init__.py") == []


def test_every_room_is_in_the_table() -> None:
    there = {module.split(".")[1] for module in MODULES if "." in module}
    assert there <= set(HOUSE), "a new room needs its row in HOUSE"
    assert set(MODULES) > {f"{PACKAGE}.core.topology", f"{PACKAGE}.backends.wiring"}, "this test looks elsewhere"


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("core.topology", "import django", "core may not import django"),
        ("core.topology", "from time import monotonic", "core may not import time"),
        ("core.topology", "def f():\n    import threading", "core may not import threading"),
        ("core.selection", "import random\nrandom.choice([1])", "core may name random.Random only"),
        ("core.selection", "import random\nrandom.Random(1)", "core may name random.Random only"),
        ("core.topology", "from ..cluster import cluster", "core may not import cluster"),
        ("core.topology", "import logging.handlers", "core may not import logging"),
        ("cluster.cluster", "from mysql import connector", "cluster may not import mysql"),
        ("cluster.cluster", "from django.db import connections", "cluster may not import django"),
        ("backends.wrapper", "import MySQLdb", "backends may not import MySQLdb"),
        ("backends.wrapper", "from ..routing.context import frames", "backends may not import routing"),
        ("backends.wrapper", "from ..cluster import registry", "may import cluster.registry"),
        ("backends.mysql.base", "from ... import routing", "backends may not import routing"),
        ("routing.decision", f"import {PACKAGE}.backends.wiring", "routing may not import backends"),
        ("routing.decision", "from ..cluster.cluster import Cluster", "routing may not import cluster"),
        ("routing.decision", f"from {PACKAGE} import in_database", "routing may not import __init__"),
        ("drivers.base", "import boto3", "drivers may not import boto3"),
        ("aws.iam", "import mysql.connector", "aws may not import mysql"),
        ("lab.servers", "from ..core.topology import Topology", "lab may not import core"),
        ("lab.servers", "import django", "lab may not import django"),
        ("checks", "from .lab import LocalCluster", "checks may not import lab"),
        ("errors", "import tests.settings", "errors may not import tests"),
    ],
)
def test_a_forbidden_import_is_caught(module: str, source: str, complaint: str) -> None:
    found = violations(f"{PACKAGE}.{module}", source)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.selection", "import random\ndef pick(rng: random.Random): ..."),
        ("cluster.connector", "import time, random\nfrom ..core.failover import Plan"),
        ("backends.wiring", "from ..cluster.registry import cluster_of\nfrom django.db import utils"),
        ("drivers.mysql_connector", "import mysql.connector\nfrom ..core.endpoints import Address"),
        ("lab.cluster", "from . import replication\nimport mysql.connector"),
    ],
)
def test_an_allowed_import_is_not(module: str, source: str) -> None:
    assert violations(f"{PACKAGE}.{module}", source) == []


def run_python(code: str) -> str:
    """What `code` prints in a Python of its own; a warning is an error there as well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SETUP = f"""
import sys, threading
import django
from django.conf import settings
import {PACKAGE}
settings.configure(
    DATABASES={{"default": {{"ENGINE": "%s", "NAME": "nowhere"}}}},
    DATABASE_ROUTERS=["{PACKAGE}.routers.DynamicDbRouter", "{PACKAGE}.routers.ReadWriteRouter"],
    INSTALLED_APPS=["{PACKAGE}"],
)
django.setup()
from django.db import connection, router
router.routers
connection.vendor
from django.core.checks import run_checks
run_checks(databases=[])  # else Django's own connect, to ask the server which types the columns of a model have
run_checks(tags=["aurora_routing"])
"""
REPORT = """
print(*sorted(thread.name for thread in threading.enumerate()))
print(*sorted(name for name in {packages} if name in sys.modules))
"""
OPTIONAL = ["boto3", "botocore", "celery", "gevent", "gunicorn", "opentelemetry", "sqlalchemy", "MySQLdb", "psycopg"]


def test_on_sqlite_nothing_starts_and_no_driver_is_imported() -> None:
    code = SETUP % "django.db.backends.sqlite3" + REPORT.format(packages=[*OPTIONAL, "mysql"])
    assert run_python(code).split("\n") == ["MainThread"]


def test_our_engine_starts_nothing_before_its_first_connection() -> None:
    # The connector comes first: what it imports by itself (OpenTelemetry, where installed) is not our doing. Nor is
    # mysqlclient, which Django's backend, of whose parts ours is made, imports where there is one.
    others = {*OPTIONAL} - {"MySQLdb"}
    before = f"import sys, mysql.connector\nbefore = set(sys.modules)\nwanted = {others} - before\n"
    code = before + SETUP % f"{PACKAGE}.backends.mysql_connector" + REPORT.format(packages="wanted")
    assert run_python(code).split("\n") == ["MainThread"]
