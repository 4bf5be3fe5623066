"""Run Django's own test suites on our engines and on Django's MySQL backend, and say where they differ.

    python scripts/conformance.py                  the labels of LABELS
    python scripts/conformance.py queries ordering others
    python scripts/conformance.py --all            every label that has to do with a database
    python scripts/conformance.py --engine mysql   only our engine over mysqlclient, not that over the connector

Tests are those of the installed Django's source distribution, which pip downloads once. Each label runs in a process
of its own on one MariaDB server from the lab. Ours over the connector runs as on a machine without mysqlclient; ours
over mysqlclient and Django's own need it, and are left out where it is not installed. Ends with 1 if a test that does
not pass on ours has another outcome there, and nothing in EXPLAINED says why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import django
import mysql.connector

from django_aurora_routing.lab import LocalServer

PROJECT = Path(__file__).resolve().parents[1]
LABELS = "backends basic multiple_database transactions queries bulk_create model_fields".split()
MORE_LABELS = """
    aggregation aggregation_regress annotations async atomic cache check_framework constraints custom_columns
    custom_lookups custom_managers custom_pk dates datetimes db_functions db_typecasts db_utils defer delete
    delete_regress distinct_on_fields empty_models expressions expressions_case expressions_window extra_regress
    field_defaults fixtures foreign_object generic_relations get_earliest_or_latest get_object_or_404
    get_or_create indexes inspectdb introspection known_related_objects lookup m2m_through many_to_many
    many_to_one max_lengths migrate_signals migrations migrations2 model_formsets model_inheritance
    model_regress nested_foreign_keys null_queries one_to_one or_lookups order_with_respect_to ordering
    pagination prefetch_related properties proxy_models queryset_pickle raw_query reserved_names reverse_lookup
    save_delete_hooks schema select_for_update select_related select_related_onetoone select_related_regress
    serializers sessions_tests sites_tests string_lookup swappable_models test_runner test_utils timezones
    transaction_hooks unmanaged_models update update_only_fields validation xor_lookups
""".split()

ROUTING_LABELS = """
    multiple_database basic async admin_views aggregation auth_tests bulk_create cache contenttypes_tests
    custom_managers custom_pk defer delete delete_regress expressions fixtures foreign_object generic_relations
    generic_relations_regress get_or_create many_to_many many_to_one many_to_one_null migrate_signals migrations
    model_formsets model_inheritance model_regress one_to_one prefetch_related proxy_models queries raw_query
    save_delete_hooks select_for_update select_related serializers sessions_tests sites_tests test_client test_runner
    test_utils transaction_hooks transactions update validation
""".split()

WITHOUT_READER = {"admin_views", "auth_tests", "cache", "migrations", "multiple_database", "test_runner", "test_utils"}
"""Labels whose tests write to every database that there is, or count the queries of 'default' alone."""

EXPLAINED = {
    "test_utils.tests.AssertNumQueriesUponConnectionTests.test_ignores_connection_configuration_queries": (
        "its mock of Django's ensure_connection() calls itself for ever under any engine that extends that method"
    ),
    "serializers.test_xml.XmlSerializerTestCase.test_crafted_xml_performance": (
        "it compares times that it has measured, and there is no database in it"
    ),
}
"""Tests that have another outcome on our engine, and why."""

EXPLAINED_ROUTING = {
    "migrations.test_commands.MakeMigrationsTests.test_makemigrations_consistency_checks_respect_routers": (
        "it counts on having no router at all at first: makemigrations looks at no database but 'default' then"
    ),
}
"""The same for our routers."""

EXPLAINED_ALONE = {
    "backends.mysql.test_schema.SchemaEditorTests.test_quote_value": "the test imports mysqlclient itself",
}
"""The same for tests that do not pass where there is no mysqlclient to compare with."""

SETTINGS = """\
from test_sqlite import *  # the settings that Django's tests count on, all but the database

{prelude}
def database(name):
    return {{
        "ENGINE": {engine!r},
        "HOST": "127.0.0.1",
        "PORT": {port},
        "USER": {user!r},
        "PASSWORD": {password!r},
        "NAME": name,
        "OPTIONS": {options!r},
        "TEST": {{"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_general_ci"}},
    }}

DATABASES = {{"default": database("default"), "other": database("other")}}
TEST_RUNNER = "conformance_runner.Runner"
"""
PLAIN_SETTINGS = """\
from test_sqlite import *

TEST_RUNNER = "conformance_runner.Runner"
"""
ROUTING_SETTINGS = """\
import os

from conformance import WITHOUT_READER
from test_sqlite import *

DATABASE_ROUTERS = [
    "django_aurora_routing.routers.DynamicDbRouter",
    "django_aurora_routing.routers.ReadWriteRouter",
]
CLUSTERS = {alias: {"writer": alias} for alias in DATABASES}
if os.environ["CONFORMANCE_LABEL"] not in WITHOUT_READER:
    DATABASES = {**DATABASES, "reader": {**DATABASES["default"], "TEST": {"MIRROR": "default"}}}
    CLUSTERS["default"]["readers"] = ["reader"]
AURORA_ROUTING = {"CLUSTERS": CLUSTERS}
TEST_RUNNER = "conformance_runner.RoutingRunner"
"""
WITHOUT_MYSQLCLIENT = 'import sys\nsys.modules["MySQLdb"] = None\n'


@dataclass(frozen=True)
class Side:
    """One side of the comparison, by the text of its settings file. The others are compared with the reference."""

    name: str
    settings: str
    is_reference: bool = False


@dataclass(frozen=True)
class Outcome:
    """What one label came to on one engine: every test that did not simply pass, by name."""

    ran: int
    seconds: float
    unusual: dict[str, str]
    log: str

    def count(self, kind: str) -> int:
        return sum(1 for outcome in self.unusual.values() if outcome == kind)


def main() -> int:
    arguments = _arguments()
    ordinary = ROUTING_LABELS if arguments.routing else [*LABELS, *(MORE_LABELS if arguments.all else ())]
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        tests = _django_tests(Path(arguments.sources or Path(sys.prefix) / "django-tests"))
        labels = [label for label in arguments.labels or ordinary if (tests / label.split(".")[0]).is_dir()]
        if arguments.routing:
            print(f"Django {django.__version__}, SQLite, Python {sys.version.split()[0]}")
            sides = [Side("ours", ROUTING_SETTINGS), Side("plain", PLAIN_SETTINGS, is_reference=True)]
            return _compare(labels, sides, tests, Path(scratch), arguments.logs)
        print(f"Django {django.__version__}, {', '.join(_drivers(arguments))}, Python {sys.version.split()[0]}")
        with LocalServer(databases=("default", "other")) as server:
            _load_time_zones(server, tests)
            return _compare(labels, _engines(arguments, server), tests, Path(scratch), arguments.logs)


def _engines(arguments: argparse.Namespace, server: LocalServer) -> list[Side]:
    """Ours that were asked for and can run, and Django's own at the end."""
    ours = {
        "mysql_connector": ({"use_pure": True} if arguments.pure else {}, WITHOUT_MYSQLCLIENT),
        "mysql": ({}, ""),
    }
    has_mysqlclient = find_spec("MySQLdb") is not None
    wanted = [arguments.engine] if arguments.engine else [name for name in ours if has_mysqlclient or name != "mysql"]
    sides = [Side(name, _settings_on(server, f"django_aurora_routing.backends.{name}", *ours[name])) for name in wanted]
    if not has_mysqlclient:
        print("mysqlclient is not installed: nothing to compare with, so each test must pass.")
    elif not arguments.only_ours:
        theirs = ("django.db.backends.mysql", {"charset": "utf8mb4"})
        sides.append(Side("django", _settings_on(server, *theirs), is_reference=True))
    return sides


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="*")
    parser.add_argument("--all", action="store_true", help="also the labels that issue no new kind of statement")
    parser.add_argument("--routing", action="store_true", help="our routers instead of our engine, on SQLite")
    parser.add_argument("--engine", choices=("mysql_connector", "mysql"), help="one of ours; both, if not given")
    parser.add_argument("--pure", action="store_true", help="the connector's Python implementation, extension or not")
    parser.add_argument("--only-ours", action="store_true", help="do not run Django's backend next to it")
    parser.add_argument("--sources", help="where Django's source is, or will be put; in the environment if not given")
    parser.add_argument("--logs", type=Path, help="a directory for the output of each run")
    return parser.parse_args()


def _drivers(arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.engine != "mysql":
        extension = mysql.connector.HAVE_CEXT and not arguments.pure
        yield f"connector {mysql.connector.__version__} ({'C extension' if extension else 'pure Python'})"
    if find_spec("MySQLdb") is not None:
        yield f"mysqlclient {metadata.version('mysqlclient')}"


def _django_tests(sources: Path) -> Path:
    """The directory tests/ of the installed Django's source, downloaded unless it is there."""
    version = django.__version__
    found = sources / f"django-{version}" / "tests"
    if not found.is_dir():
        sources.mkdir(parents=True, exist_ok=True)
        print(f"Downloading the source of Django {version}", flush=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        wanted = ["--no-deps", "--no-binary", ":all:", "--dest", str(sources), f"Django=={version}"]
        subprocess.run([*pip, *wanted], check=True)
        (archive,) = sources.glob(f"[Dd]jango-{version}.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(sources, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        archive.unlink()
        (unpacked,) = sources.glob(f"[Dd]jango-{version}")
        unpacked.rename(found.parent)
    return found


def _load_time_zones(server: LocalServer, tests: Path) -> None:
    """Teach the server the time zones that the tests name; without them Django skips what needs CONVERT_TZ()."""
    text = "\n".join(path.read_text(errors="replace") for path in tests.glob("**/*.py"))
    names = sorted({"UTC", *re.findall(r"\b[A-Z][A-Za-z]+/[A-Z][A-Za-z_-]+\b", text)} & available_timezones())
    for number, name in enumerate(names, start=1):
        kinds: list[tuple[int, int, str]] = []
        moments = []
        for moment, kind in _offsets(ZoneInfo(name)):
            if kind not in kinds:
                kinds.append(kind)
            moments.append(f"({number}, {moment}, {kinds.index(kind)})")
        types = [f"({number}, {at}, {offset}, {dst}, '{abbr}')" for at, (offset, dst, abbr) in enumerate(kinds)]
        for table, rows in (
            ("time_zone", [f"({number}, 'N')"]),
            ("time_zone_name", [f"('{name}', {number})"]),
            ("time_zone_transition_type", types),
            ("time_zone_transition", moments),
        ):
            server.server.query(f"INSERT INTO {table} VALUES {', '.join(rows)}", database="mysql")


def _offsets(zone: ZoneInfo) -> Iterator[tuple[int, tuple[int, int, str]]]:
    """When the zone's clock was set anew from 1902 to 2037 (POSIX time), and to what: offset, DST, abbreviation."""

    def kind_at(moment: int) -> tuple[int, int, str]:
        local = (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=moment)).astimezone(zone)
        offset, dst = local.utcoffset(), local.dst()
        assert offset is not None
        return int(offset.total_seconds()), int(bool(dst)), local.tzname() or ""

    day, last = 86_400, 2**31 - 86_400
    before, kind = -(2**31) + day, kind_at(-(2**31) + day)
    yield before, kind
    for moment in range(before + day, last, day):
        if kind_at(moment) == kind:
            continue
        low, high = moment - day, moment
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if kind_at(middle) == kind else (low, middle)
        kind = kind_at(high)
        yield high, kind


def _settings_on(server: LocalServer, engine: str, options: Mapping[str, object], prelude: str = "") -> str:
    return SETTINGS.format(
        prelude=prelude,
        engine=engine,
        options=options,
        port=server.server.direct_port,
        user=server.user,
        password=server.password,
    )


def _compare(labels: Sequence[str], sides: Sequence[Side], tests: Path, scratch: Path, logs: Path | None) -> int:
    for side in sides:
        (scratch / f"conformance_{side.name}.py").write_text(side.settings)
    columns = "".join(f" | {side.name:>15}: {'ran':>5} {'fail':>5} {'error':>5} {'skip':>5} {'s':>5}" for side in sides)
    print(f"{'':24}{columns}", flush=True)
    unexplained = 0
    for label in labels:
        outcomes = {}
        for side in sides:
            outcome = outcomes[side] = _run(label, side, tests, scratch)
            if logs is not None:
                logs.mkdir(parents=True, exist_ok=True)
                (logs / f"{label}-{side.name}.log").write_text(outcome.log)
        cells = "".join(
            f" | {'':15}  {o.ran:5} {o.count('failure'):5} {o.count('error'):5} {o.count('skipped'):5} {o.seconds:5.0f}"
            for o in outcomes.values()
        )
        print(f"{label:24}{cells}", flush=True)
        unexplained += _report(label, outcomes)
    print(f"{unexplained} unexplained difference{'' if unexplained == 1 else 's'}")
    return 1 if unexplained else 0


def _run(label: str, side: Side, tests: Path, scratch: Path) -> Outcome:
    result_file = scratch / "result.json"
    result_file.unlink(missing_ok=True)
    path = os.pathsep.join(map(str, (scratch, PROJECT, PROJECT / "scripts")))
    environment = {**os.environ, "PYTHONPATH": path, "CONFORMANCE_RESULT": str(result_file)}
    environment["CONFORMANCE_LABEL"] = label.split(".")[0]
    command = [sys.executable, "runtests.py", f"--settings=conformance_{side.name}", "--noinput", "--parallel=1"]
    began = time.monotonic()
    done = subprocess.run(
        [*command, label],
        cwd=tests,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    seconds = time.monotonic() - began
    if not result_file.exists():
        return Outcome(0, seconds, {label: f"ended with {done.returncode} before it had a result"}, done.stdout)
    record = json.loads(result_file.read_text())
    return Outcome(record["ran"], seconds, record["outcomes"], done.stdout)


def _report(label: str, outcomes: Mapping[Side, Outcome]) -> int:
    """Print the tests that came out differently; return how many of them nobody has explained."""
    reference = next((outcome.unusual for side, outcome in outcomes.items() if side.is_reference), None)
    explained = {**EXPLAINED, **EXPLAINED_ROUTING, **(EXPLAINED_ALONE if reference is None else {})}
    unexplained = 0
    for side, outcome in outcomes.items():
        if side.is_reference:
            continue
        ours = outcome.unusual
        theirs = reference
        if theirs is None:  # nothing to compare with: only what was skipped need not pass
            theirs = {name: how for name, how in ours.items() if how == "skipped"}
        for name in sorted(ours.keys() | theirs.keys()):
            mine, other = ours.get(name, "passed"), theirs.get(name, "passed")
            if mine == other:
                continue
            reason = explained.get(name)
            unexplained += reason is None and mine != "passed"
            print(f"    {side.name}: {name}: {mine}, not {other}" + (f" ({reason})" if reason else ""), flush=True)
        if label in ours:
            print("        " + "\n        ".join(outcome.log.strip().splitlines()[-15:]))
    return unexplained


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
