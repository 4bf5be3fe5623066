"""Programs of their own on the cluster: what they are made of, and how they are started and brought to an end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_aurora_routing.lab import LocalCluster
from tests.backends.conftest import ENGINE

ROOT = Path(__file__).resolve().parents[2]

_HEAD = """
import sys
sys.path.insert(0, {root!r})
import django
from django.conf import settings
settings.configure(
    DATABASES={{"default": {database!r}}},
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="none",
)
django.setup()
from django.db import connection

def ask(sql, params=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else ()

def insert(key, text="a"):
    ask("INSERT INTO t VALUES (%s, %s)", [key, text])
"""


def program(cluster: LocalCluster, body: str, *, before: str = "", **options: Any) -> str:
    """The text of a program with Django and one alias of the cluster; it has `ask()` and `insert()`."""
    database = {
        "ENGINE": ENGINE,
        "NAME": "app",
        "USER": cluster.user,
        "PASSWORD": cluster.password,
        "HOST": cluster.writer_endpoint.host,
        "PORT": cluster.writer_endpoint.port,
        "CONN_MAX_AGE": None,
        "OPTIONS": {"cluster_instance_host_pattern": cluster.host_pattern, "failover_timeout_sec": 20, **options},
    }
    return before + _HEAD.format(root=os.fspath(ROOT), database=database) + textwrap.dedent(body)


@contextlib.contextmanager
def running(*arguments: str, cwd: Path | None = None, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process with these arguments; it is killed where it has not ended with the block."""
    command = [sys.executable, "-W", "ignore", *arguments]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, **more}
    with subprocess.Popen(command, cwd=cwd, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """Its next line."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def tell(process: subprocess.Popen[str], line: str = "go") -> None:
    assert process.stdin is not None
    print(line, file=process.stdin, flush=True)


@pytest.fixture(autouse=True)
def table(cluster: LocalCluster) -> None:
    """An empty table `t`, there on all instances."""
    cluster.writer.query("DROP TABLE IF EXISTS app.t")
    cluster.writer.query("CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(50))")
    cluster.catch_up()
