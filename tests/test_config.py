"""DATABASES from one definition: URLs and dicts as dj-database-url and django-environ have them, readers added."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import dj_database_url
import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings

from django_aurora_routing.backends.wiring import parse_settings
from django_aurora_routing.config import ENGINE, ENGINES, SCHEME, clusters_of, databases
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.routing.clusters import Cluster, clusters, found, told

HOST = "shop.cluster-abc123.eu-west-1.rds.amazonaws.com"
URL = f"aurora-mysql://shop:s%40cret@{HOST}:3307/shop"
POSTGRES = "postgres://shop:secret@primary:5433/shop?sslmode=require"


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [
        ("replica1", "replica1", 5433),
        ("replica1:5434", "replica1", 5434),
        ("10.0.0.2:5434", "10.0.0.2", 5434),
        ("[fd00::2]:5434", "fd00::2", 5434),
        ("fd00::2", "fd00::2", 5433),
    ],
)
def test_a_readers_host_may_have_a_port(given: str, host: str, port: int) -> None:
    writer = {"ENGINE": "django.db.backends.postgresql", "HOST": "primary", "PORT": 5433}
    reader = databases(writer, readers=[given])["reader"]
    assert (reader["HOST"], reader["PORT"]) == (host, port)


def test_one_url_of_a_cluster_gives_a_writer_and_a_reader() -> None:
    made = databases(URL)
    same = {"ENGINE": ENGINE, "NAME": "shop", "USER": "shop", "PASSWORD": "s@cret", "HOST": HOST, "PORT": 3307}
    assert made == {
        "default": same,
        "reader": {**same, "OPTIONS": {"read_only": True}, "TEST": {"MIRROR": "default"}, "ATOMIC_REQUESTS": False},
    }
    assert found(connections.configure_settings(made)) == [Cluster("default", "default", ("reader",))]


def test_the_servers_of_a_plain_primary_are_an_option_of_both() -> None:
    names = ["db1.internal", "db2.internal"]
    listed = databases("aurora-mysql://shop:secret@db1.internal/shop", OPTIONS={"hosts": names})
    assert [made["OPTIONS"]["hosts"] for made in listed.values()] == [names, names]
    in_url = databases("aurora-mysql://shop:secret@db1.internal/shop?hosts=db1.internal,db2.internal")
    parsed = [parse_settings(made, (), {}).options for made in (*listed.values(), *in_url.values())]
    assert {options.hosts for options in parsed} == {(Address("db1.internal"), Address("db2.internal"))}
    assert [options.read_only for options in parsed] == [False, True, False, True]


@pytest.mark.parametrize("engine", ENGINES)
def test_each_of_our_engines_has_its_reader(engine: str) -> None:
    for made in (databases(URL, ENGINE=engine), databases({"ENGINE": engine, "HOST": HOST}, readers=[{}])):
        assert made["reader"]["OPTIONS"] == {"read_only": True}
        assert found(connections.configure_settings(made)) == [Cluster("default", "default", ("reader",))]


def test_options_of_the_url_are_those_of_both() -> None:
    made = databases(f"{URL}?plugins=failover&topology_refresh_ms=500")
    assert made["default"]["OPTIONS"] == {"plugins": "failover", "topology_refresh_ms": 500}
    assert made["reader"]["OPTIONS"] == {**made["default"]["OPTIONS"], "read_only": True}


def test_without_a_reader_if_it_shall_have_none() -> None:
    assert list(databases(URL, readers=[])) == ["default"]


def test_replicas_of_another_engine_share_what_they_do_not_say() -> None:
    replica = "postgres://reporter:other@replica3/shop"
    made = databases(POSTGRES, readers=["replica1", {"HOST": "replica2", "PORT": 5434}, replica], CONN_MAX_AGE=600)
    assert list(made) == ["default", "reader1", "reader2", "reader3"]
    assert made["reader1"] == {
        **made["default"],
        "HOST": "replica1",
        "TEST": {"MIRROR": "default"},
        "ATOMIC_REQUESTS": False,
    }
    assert (made["reader2"]["HOST"], made["reader2"]["PORT"]) == ("replica2", 5434)
    assert (made["reader3"]["USER"], made["reader3"]["PASSWORD"]) == ("reporter", "other")
    for config in made.values():
        assert config["CONN_MAX_AGE"] == 600
        assert config["OPTIONS"] == {"sslmode": "require"}
    entry = {"default": {"writer": "default", "readers": ["reader1", "reader2", "reader3"]}}
    assert clusters_of(made) == entry
    assert told(entry, made) == [Cluster("default", "default", ("reader1", "reader2", "reader3"))]


def test_without_readers_another_engine_has_none() -> None:
    assert list(databases(POSTGRES)) == ["default"]
    assert clusters_of(databases(POSTGRES)) == {}


def test_two_clusters_side_by_side() -> None:
    made = databases(URL) | databases(POSTGRES, readers=["replica"], name="crm")
    assert list(made) == ["default", "reader", "crm", "crm_reader"]
    assert made["crm_reader"]["TEST"] == {"MIRROR": "crm"}
    with override_settings(AURORA_ROUTING={"CLUSTERS": clusters_of(made)}):
        assert told(clusters_of(made), made) == [
            Cluster("default", "default", ("reader",)),
            Cluster("crm", "crm", ("crm_reader",)),
        ]
    clusters.cache_clear()


def test_readers_by_name() -> None:
    made = databases(POSTGRES, readers={"reports": "replica1", "search": {"HOST": "replica2"}})
    assert list(made) == ["default", "reports", "search"]


def test_a_single_reader_needs_no_list() -> None:
    assert databases(POSTGRES, readers="replica")["reader"]["HOST"] == "replica"


def test_what_dj_database_url_and_django_environ_have_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"mysql://shop:s%40cret@{HOST}:3307/shop")
    monkeypatch.setitem(environ.Env.DB_SCHEMES, SCHEME, ENGINE)
    by_dj, by_environ = databases(dj_database_url.config(), ENGINE=ENGINE), databases(environ.Env().db(), ENGINE=ENGINE)
    registered = databases(environ.Env.db_url_config(URL))
    for made in (by_dj, by_environ, registered):
        assert list(made) == ["default", "reader"]
        for key in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT"):
            assert made["reader"][key] == made["default"][key] == databases(URL)["default"][key]


def test_a_plain_dict_is_copied_and_the_writers_own_test_settings_stay_its_own() -> None:
    given: dict[str, Any] = {
        "ENGINE": ENGINE,
        "HOST": HOST,
        "ATOMIC_REQUESTS": True,
        "OPTIONS": {"plugins": "failover"},
        "TEST": {"NAME": "t", "CHARSET": "utf8mb4"},
    }
    made = databases(given, OPTIONS={"connect_timeout": 3})
    assert made["default"] == {**given, "OPTIONS": {"plugins": "failover", "connect_timeout": 3}}
    assert made["reader"]["TEST"] == {"MIRROR": "default"}
    assert made["reader"]["ATOMIC_REQUESTS"] is False
    assert given["OPTIONS"] == {"plugins": "failover"}


def test_a_reader_on_another_engine_shares_nothing() -> None:
    made = databases(URL, readers=[{"ENGINE": "django.db.backends.sqlite3", "NAME": "copy"}])
    assert set(made["reader"]) == {"ENGINE", "NAME", "TEST", "ATOMIC_REQUESTS"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"writer": {}}, "is the environment variable set?"),
        ({"writer": None}, "not None; is the environment variable set?"),
        ({"writer": ""}, "is the environment variable set?"),
        ({"writer": {"default": {"ENGINE": ENGINE}}}, "the definition of one database, with its ENGINE"),
        ({"writer": "mysqql://h/db"}, "Scheme 'mysqql://' is unknown"),
        ({"writer": URL, "readers": {"default": "replica"}}, "both the writer and one of its readers"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        databases(**arguments)
    assert said in str(raised.value)


def test_a_misspelt_argument_is_no_setting() -> None:
    with pytest.raises(TypeError, match=r"no argument 'reader'.* writer, readers and name"):
        databases(URL, reader=["replica"])


def test_no_password_in_an_error() -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        databases("aurora-mysql://shop:hun[ter2@host:port/shop")
    assert "ter2" not in f"{raised.value!r} {raised.value.__cause__!r}"


def test_without_dj_database_url_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dj_database_url", None)
    with pytest.raises(ImproperlyConfigured, match=r"dj-database-url .* django-aurora-routing\[url\]"):
        databases(URL)
    assert list(databases({"ENGINE": ENGINE})) == ["default", "reader"]


def test_a_settings_file_may_use_it(tmp_path: Path) -> None:
    (tmp_path / "shop_settings.py").write_text(
        "from django_aurora_routing.config import clusters_of, databases\n"
        "DATABASES = databases('sqlite:///a.sqlite3', readers={'copy': 'sqlite:///b.sqlite3'})\n"
        "AURORA_ROUTING = {'CLUSTERS': clusters_of(DATABASES)}\n"
        "SECRET_KEY = 'x'\n"
        "USE_TZ = True\n"
    )
    code = "from django_aurora_routing.routing.clusters import clusters; print(clusters().by_name['default'].readers)"
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"DJANGO_SETTINGS_MODULE": "shop_settings", "PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "('copy',)", done.stderr
