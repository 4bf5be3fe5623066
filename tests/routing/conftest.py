"""SQLite databases for the routing tests, one file an alias and never replicated: who answers is who has the rows.

They take the place of the suite's own DATABASES in this thread for one test, through what `connections` offers to
everybody: an assignment to its settings, and to its aliases.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.db.backends.base.base import RAN_DB_VERSION_CHECK
from django.db.backends.signals import connection_created
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.test import override_settings

from django_aurora_routing.routing import dynamic
from django_aurora_routing.routing.configs import PREFIX
from django_aurora_routing.routing.scopes import scope
from tests.backends.conftest import aliases as aliases

from .models import Author, Book

ALIASES = ("default", "external", "reader1", "reader2")
BOTH_ROUTERS = [
    "django_aurora_routing.routers.DynamicDbRouter",
    "django_aurora_routing.routers.ReadWriteRouter",
]
CLUSTERS = {"CLUSTERS": {"default": {"writer": "default", "readers": ["reader1", "reader2"]}}}

Config = dict[str, Any]


def sqlite(path: Path) -> Config:
    # The timeout of SQLite: tests with many threads wait for each other's writes.
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": {"timeout": 30}}


def make_tables(alias: str, *authors: str) -> None:
    with connections[alias].schema_editor() as editor:
        editor.create_model(Author)
        editor.create_model(Book)
    for name in authors:
        Author(name=name).save(using=alias)


@contextlib.contextmanager
def installed(databases: dict[str, Config]) -> Iterator[None]:
    """`databases` in the place of DATABASES, in this thread and in the one where asyncio.run() has the ORM run."""
    before = connections.settings
    here, there = _wrappers(), _in_the_orms_thread(_wrappers)
    connections.settings = connections.configure_settings(databases)
    try:
        yield
    finally:
        for ours in (_wrappers(), _in_the_orms_thread(_wrappers)):
            for wrapper in ours.values():
                wrapper.inc_thread_sharing()
                wrapper.close()
        connections.settings = before
        _put_back(here)
        _in_the_orms_thread(_put_back, there)


def _wrappers() -> dict[str, Any]:
    """Take this thread's wrappers out of `connections`."""
    taken = {alias: connections[alias] for alias in connections.settings}
    for alias in taken:
        del connections[alias]
    return taken


def _put_back(wrappers: dict[str, Any]) -> None:
    for alias, wrapper in wrappers.items():
        connections[alias] = wrapper


def _in_the_orms_thread(function: Callable[..., Any], *args: Any) -> Any:
    async def call() -> Any:
        return await sync_to_async(function)(*args)

    return asyncio.run(call())


@contextlib.contextmanager
def closed_at_the_end() -> Iterator[None]:
    """Close what threads leave open that end without closing it, as Python 3.13 warns of what the collector finds."""
    opened: list[Any] = []

    def note(*, connection: Any, **_: Any) -> None:
        opened.append(connection.connection)

    connection_created.connect(note)
    try:
        yield
    finally:
        connection_created.disconnect(note)
        for connection in opened:
            with contextlib.suppress(Exception):  # a test's own that will not close, say
                connection.close()


@pytest.fixture
def databases(tmp_path: Path, django_db_blocker: Any, request: pytest.FixtureRequest) -> Iterator[dict[str, Config]]:
    """default, external, reader1 and reader2, each with one author named after its alias; only DynamicDbRouter."""
    configs = {alias: sqlite(tmp_path / f"{alias}.sqlite3") for alias in ALIASES}
    weighs = "weighing" in request.fixturenames
    with (
        contextlib.nullcontext() if weighs else closed_at_the_end(),
        django_db_blocker.unblock(),
        installed(configs),
        override_settings(DATABASE_ROUTERS=BOTH_ROUTERS[:1], AURORA_ROUTING={}),
        scope("test"),
    ):
        for alias in ALIASES:
            make_tables(alias, alias)
        yield configs
    assert not dynamic._databases, "dynamic databases left behind"
    assert not [alias for alias in RAN_DB_VERSION_CHECK if alias.startswith(PREFIX)], "and what Django knows of them"


@pytest.fixture
def both_routers(databases: dict[str, Config]) -> Iterator[None]:
    """DynamicDbRouter and ReadWriteRouter, over default as the writer and the two readers."""
    with override_settings(DATABASE_ROUTERS=BOTH_ROUTERS, AURORA_ROUTING=CLUSTERS):
        yield


@pytest.fixture
def make_config(tmp_path: Path, databases: dict[str, Config]) -> Callable[..., Config]:
    """A configuration for in_database({...}), of a database with tables and one author of the same name."""

    def make(name: str = "tenant", **more: Any) -> Config:
        config = {**sqlite(tmp_path / f"{name}.sqlite3"), **more}
        settings = connections.configure_settings({"default": {}, name: dict(config)})[name]
        wrapper = connections[name] = DatabaseWrapper(settings, name)
        with wrapper.schema_editor() as editor:
            editor.create_model(Author)
            editor.create_model(Book)
        with wrapper.cursor() as cursor:
            cursor.execute(f"INSERT INTO {Author._meta.db_table} (name) VALUES (%s)", [name])
        wrapper.close()
        del connections[name]
        return config

    return make


def names() -> list[str]:
    """What a read finds, as the routers have it."""
    return list(Author.objects.order_by("pk").values_list("name", flat=True))
