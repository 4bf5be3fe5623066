"""`migrate_all` on SQLite files: which databases it takes, what it says of each, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from .routing.conftest import Config, installed

ROUTERS = ["django_aurora_routing.routers.DynamicDbRouter", "django_aurora_routing.routers.ReadWriteRouter"]
ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.usefixtures("unblocked")


@pytest.fixture
def unblocked(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), override_settings(DATABASE_ROUTERS=ROUTERS, AURORA_ROUTING={}):
        yield


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Config]:
    def make(name: str, **more: Any) -> Config:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / f"{name}.sqlite3"), **more}

    return make


class Shop:
    """A router that lets the shop, and nothing else, be migrated, and only where it is asked for."""

    places: tuple[str, ...] = ()

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return app_label == "shop" and (not self.places or db in self.places)


def run(*args: str, **options: Any) -> str:
    out = StringIO()
    call_command("migrate_all", *args, stdout=out, skip_checks=True, no_color=True, **options)
    return out.getvalue()


def tables(alias: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        return [name for name in connections[alias].introspection.table_names(cursor) if name.startswith("shop")]


def applied(alias: str) -> int:
    return len(MigrationRecorder(connections[alias]).applied_migrations())


@pytest.fixture
def shop_only() -> Iterator[type[Shop]]:
    router = type("OneTestsShop", (Shop,), {})
    with override_settings(DATABASE_ROUTERS=[router(), *ROUTERS]):
        yield router


def test_every_writer_once_and_in_the_order_of_databases(file: Any, shop_only: type[Shop]) -> None:
    with installed({"default": file("a"), "reader": file("b"), "crm": file("c")}):
        readers = {"default": {"writer": "default", "readers": ["reader"]}}
        with override_settings(AURORA_ROUTING={"CLUSTERS": readers}):
            said = run()
        assert tables("default")
        assert tables("default") == tables("crm")
        assert not Path(connections["reader"].settings_dict["NAME"]).exists(), "the reader was connected to"
    assert said.startswith("Not reader: a reader of 'default'.\n[1/2] default\n")
    assert said.index("[1/2] default: ") < said.index("[2/2] crm\n") < said.index("[2/2] crm: ")
    assert "Applying shop.0001_shop... OK\n" in said


def test_trap_43_readers_and_mirrors_are_left_alone(file: Any, shop_only: type[Shop]) -> None:
    read_only = file("b", OPTIONS={"read_only": True}, TEST={"MIRROR": "default"})
    with installed({"default": file("a"), "reader": read_only, "copy": file("c", TEST={"MIRROR": "default"})}):
        said = run()
        assert not Path(read_only["NAME"]).exists()
        with pytest.raises(CommandError, match="'reader' is never migrated: it is a reader of 'default'"):
            run("--database", "reader")
    assert "Not reader: a reader of 'default'.\nNot copy: a mirror of 'default' in tests.\n[1/1] default\n" in said


def test_two_aliases_of_one_database_are_migrated_once(file: Any, shop_only: type[Shop]) -> None:
    with installed({"default": file("a"), "reports": file("a", OPTIONS={"timeout": 60}), "crm": file("c")}):
        said = run()
        assert "Not reports: the same database as 'default'." in said
        assert said.count("Applying shop.0001_shop") == 2
        assert run("--database", "reports").startswith("[1/1] reports\n"), "named alone it is not the second"


def test_where_the_routers_allow_nothing_nothing_is_done(file: Any, shop_only: type[Shop]) -> None:
    shop_only.places = ("crm",)
    with installed({"default": {}, "crm": file("a"), "archive": file("b")}):
        said = run()
        assert not Path(connections["archive"].settings_dict["NAME"]).exists()
    assert "Not default: without an ENGINE.\nNot archive: the routers allow no migration there.\n[1/1] crm\n" in said


def test_only_the_databases_that_are_named(file: Any, shop_only: type[Shop]) -> None:
    with installed({"default": file("a"), "crm": file("b"), "archive": file("c")}):
        said = run("--database", "archive", "--database=crm")
        assert tables("crm")
        assert tables("archive")
        assert not tables("default")
        assert said.index("[1/2] crm") < said.index("[2/2] archive")
        with pytest.raises(CommandError, match="invalid choice: 'nowhere'"):
            run("--database", "nowhere")


def test_it_says_what_was_applied_and_how_long_it_took(file: Any, shop_only: type[Shop]) -> None:
    with installed({"default": file("a")}):
        assert "[1/1] default: done, 1 migration applied, " in run("shop")
        assert run("shop").rstrip().endswith(" s")
        assert "[1/1] default: done, no migration applied, " in run("shop")
        assert "[1/1] default: done, 1 migration unapplied, " in run("shop", "zero")
        assert run("shop", verbosity=0) == ""


def test_check_asks_every_database_and_fails_if_one_is_behind(file: Any, shop_only: type[Shop]) -> None:
    with installed({"default": file("a"), "crm": file("b"), "archive": file("c")}):
        run("shop", "--database", "crm")
        out = StringIO()
        with pytest.raises(CommandError, match="not applied on 'default', 'archive'") as raised:
            call_command("migrate_all", "shop", "--check", stdout=out, skip_checks=True)
        assert raised.value.returncode == 1
        assert "[1/3] default: migrations are not applied, " in out.getvalue()
        assert "[2/3] crm: up to date, " in out.getvalue()
        assert not tables("default")
        run("shop")
        assert "[3/3] archive: up to date, " in run("shop", "--check")


def test_plan_shows_and_does_nothing(file: Any, shop_only: type[Shop]) -> None:
    with installed({"default": file("a"), "crm": file("b")}):
        said = run("shop", "--plan")
        assert said.count("Planned operations:\nshop.0001_shop\n") == 2
        assert not tables("default") + tables("crm")


def test_it_stops_at_the_first_error_and_says_what_is_done(file: Any, shop_only: type[Shop]) -> None:
    with installed({"default": file("a"), "crm": file("b"), "archive": file("c")}):
        with connections["crm"].cursor() as cursor:
            cursor.execute("CREATE TABLE shop_product (id INTEGER)")
        out = StringIO()
        with pytest.raises(CommandError) as raised:
            call_command("migrate_all", "shop", stdout=out, skip_checks=True)
        assert str(raised.value) == (
            "Stopped at 'crm': OperationalError: table \"shop_product\" already exists\n"
            "Done: 'default'. Not begun: 'archive'."
        )
        assert raised.value.__cause__ is not None
        assert "[2/3] crm: failed, no migration applied, " in out.getvalue()
        assert tables("default")
        assert not tables("archive")
        with connections["crm"].cursor() as cursor:
            cursor.execute("DROP TABLE shop_product")
        assert "Applying shop.0001_shop... OK" in run("shop")


def test_a_database_out_of_reach_is_said_to_be(file: Any, shop_only: type[Shop]) -> None:
    gone = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/no/such/directory/a.sqlite3"}
    said = r"Stopped at 'crm': .*unable to open.*\nDone: 'default'"
    with installed({"default": file("a"), "crm": gone}), pytest.raises(CommandError, match=said):
        run("shop")


def test_fake_initial_and_the_other_options_of_migrate(file: Any, shop_only: type[Shop]) -> None:
    with installed({"default": file("a"), "crm": file("b")}):
        said = run("shop", "--fake")
        assert said.count("FAKED") == 2
        assert (applied("default"), tables("default")) == (1, [])


def test_settings_that_make_no_sense_are_refused_before_anything_is_done(file: Any) -> None:
    wrong = {"CLUSTERS": {"default": {"writer": "defualt", "readers": []}}}
    refused = pytest.raises(ImproperlyConfigured, match="Did you mean 'default'")
    with installed({"default": file("a")}), override_settings(AURORA_ROUTING=wrong), refused:
        run()


def test_as_a_command_with_its_exit_codes(tmp_path: Path) -> None:
    (tmp_path / "shop_settings.py").write_text(
        "from testproject.settings import *\n"
        "DATABASES = {\n"
        f"    alias: {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': {str(tmp_path)!r} + '/' + alias}}\n"
        "    for alias in ('default', 'crm')\n"
        "}\n"
        "AURORA_ROUTING = {}\n"
    )

    def manage(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "django", "migrate_all", *args],
            env={"DJANGO_SETTINGS_MODULE": "shop_settings", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    behind = manage("shop", "--check")
    assert (behind.returncode, behind.stderr.strip()) == (
        1,
        "CommandError: Migrations are not applied on 'default', 'crm'.",
    )
    done = manage("shop", "--noinput")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Applying shop.0001_shop... OK") == 2
    assert manage("shop", "--check").returncode == 0
