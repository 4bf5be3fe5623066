"""The sample project's tests, run as its developers would: by Django and by pytest, on SQLite and on a cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from django_aurora_routing.lab import LocalCluster

ROOT = Path(__file__).resolve().parent.parent.parent
SQLITE = "django.db.backends.sqlite3"
CASES = "tests.testing.sample.django_cases"


def sqlite(writer: dict[str, Any]) -> dict[str, Any]:
    return {"default": writer, "reader": {**writer, "TEST": {"MIRROR": "default"}}}


def in_file(folder: Path, **reader: Any) -> dict[str, Any]:
    databases = sqlite({"ENGINE": SQLITE, "NAME": str(folder / "db"), "TEST": {"NAME": str(folder / "test_db")}})
    databases["reader"].update(reader)
    return databases


def in_memory() -> dict[str, Any]:
    return sqlite({"ENGINE": SQLITE, "NAME": ":memory:"})


def run(databases: dict[str, Any], *command: str, **environment: str) -> str:
    """What a command in the sample project prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=ROOT,
        env={
            **os.environ,
            "SAMPLE_DATABASES": json.dumps(databases),
            "DJANGO_SETTINGS_MODULE": "tests.testing.sample.settings",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_django(databases: dict[str, Any]) -> str:
    return run(databases, "-m", "django", "test", "--noinput", CASES)


def run_pytest(databases: dict[str, Any], installed: Path, *arguments: str) -> str:
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    return run(
        databases,
        *("-m", "pytest", "-q", "-W", "error", "-c", os.devnull, f"--rootdir={ROOT}", "--import-mode=importlib"),
        *("-o", "python_files=*_cases.py", "-p", "no:cacheprovider", *arguments),
        PYTHONPATH=os.pathsep.join([*paths, str(ROOT)]),
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Where the package is installed as far as its entry points tell, whether or not it is."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    about = tmp_path / "site" / "django_aurora_routing-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: django-aurora-routing\nVersion: 0\n")
    lines = "\n".join(line for line in setup["options.entry_points"]["pytest11"].splitlines() if line)
    (about / "entry_points.txt").write_text(f"[pytest11]\n{lines}\n")
    return tmp_path / "site"


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_trap_41_mirrors_on_sqlite(kind: str, tmp_path: Path) -> None:
    ran = run_django(in_file(tmp_path) if kind == "file" else in_memory())
    assert re.search(r"Ran \d\d tests.*OK", ran, re.DOTALL)


def test_without_a_mirror_in_the_settings(tmp_path: Path) -> None:
    """The reader's own test database is then made, for nothing, and has no tables: nobody looks at it."""
    databases = in_file(tmp_path, NAME=str(tmp_path / "reader"), TEST={"NAME": str(tmp_path / "test_reader")})
    assert "OK" in run(databases, "-m", "django", "test", "--noinput", f"{CASES}.Mirrors", f"{CASES}.AllNamed")


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_the_fixtures_come_with_the_package(kind: str, tmp_path: Path, installed: Path) -> None:
    databases = in_file(tmp_path) if kind == "file" else in_memory()
    assert " passed" in run_pytest(databases, installed, "tests/testing/sample")


def test_the_examples_of_the_documentation(tmp_path: Path, installed: Path) -> None:
    page = (ROOT / "docs" / "testing.rst").read_text()
    blocks = re.findall(r"code-block:: python\n\n((?:(?:   .*)?\n)+)", page)
    examples = [textwrap.dedent(block) for block in blocks if "DATABASES" not in block]
    assert len(examples) == 5
    source = "\n\n".join(examples).replace("from shop.models import", "from tests.testing.sample.models import Item as")
    (tmp_path / "docs_cases.py").write_text(source)
    ran = run_pytest(in_file(tmp_path), installed, str(tmp_path / "docs_cases.py"))
    assert "8 passed" in ran


def test_the_plugin_named_twice_is_loaded_once(installed: Path) -> None:
    plugin = "django_aurora_routing.testing.pytest_plugin"
    assert "1 passed" in run_pytest(
        in_memory(), installed, "-p", plugin, "tests/testing/sample/pytest_cases.py", "-k", "without_a_database"
    )


def test_the_plugin_imports_neither_django_nor_the_rest() -> None:
    code = "import sys, django_aurora_routing.testing.pytest_plugin\n" + (
        "print(sorted(name for name in sys.modules if name.startswith(('django.', 'django_aurora_routing.'))))"
    )
    assert run(in_memory(), "-c", code).strip() == (
        "['django_aurora_routing.testing', 'django_aurora_routing.testing.pytest_plugin']"
    )


@pytest.mark.lab
def test_mirrors_and_stale_readers_on_a_cluster(cluster: LocalCluster, tmp_path: Path, installed: Path) -> None:
    def alias(host: str, **options: Any) -> dict[str, Any]:
        return {
            "ENGINE": "django_aurora_routing.backends.mysql_connector",
            "NAME": "app",
            "USER": cluster.user,
            "PASSWORD": cluster.password,
            "HOST": host,
            "PORT": cluster.writer_endpoint.port,
            "OPTIONS": {"cluster_instance_host_pattern": cluster.host_pattern, **options},
        }

    databases = {
        "default": alias(cluster.writer_endpoint.host),
        "reader": {**alias(cluster.writer_endpoint.host, read_only=True), "TEST": {"MIRROR": "default"}},
    }
    assert " passed" in run_pytest(databases, installed, "tests/testing/sample")
