"""Settings of the shop. Where its databases are comes from the environment; the defaults are the lab's own.

SHOP_DB_HOST            the cluster's writer endpoint                            (127.0.0.10)
SHOP_DB_PORT            the port of every instance                               (3306)
SHOP_DB_INSTANCES       how an instance is reached: `?` stands for its name      (127.0.0.?)
SHOP_DB_USER, SHOP_DB_PASSWORD, SHOP_DB_NAME                                     (app, app-password, app)
SHOP_EXTERNAL_HOST, SHOP_EXTERNAL_PORT   a second, ordinary server; same user    (none, 3306)
SHOP_SQLITE             a directory: use SQLite files there instead, to try the routers without a server
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def _mysql(engine: str, host: str, port: str, **options: Any) -> dict[str, Any]:
    return {
        "ENGINE": engine,
        "NAME": os.environ.get("SHOP_DB_NAME", "app"),
        "USER": os.environ.get("SHOP_DB_USER", "app"),
        "PASSWORD": os.environ.get("SHOP_DB_PASSWORD", "app-password"),
        "HOST": host,
        "PORT": port,
        "CONN_MAX_AGE": None,
        "OPTIONS": options,
    }


def cluster_databases() -> dict[str, dict[str, Any]]:
    """A writer, its readers and, if there is one, a server that is no part of the cluster."""
    engine = "django_aurora_routing.backends.mysql_connector"
    host = os.environ.get("SHOP_DB_HOST", "127.0.0.10")
    port = os.environ.get("SHOP_DB_PORT", "3306")
    instances = {"cluster_instance_host_pattern": os.environ.get("SHOP_DB_INSTANCES", "127.0.0.?")}
    databases = {
        "default": _mysql(engine, host, port, **instances),
        "reader": {
            **_mysql(engine, host, port, **instances, read_only=True, reader_host_selector_strategy="round_robin"),
            "TEST": {"MIRROR": "default"},
        },
    }
    if external := os.environ.get("SHOP_EXTERNAL_HOST"):
        databases["external"] = _mysql(engine, external, os.environ.get("SHOP_EXTERNAL_PORT", "3306"))
    return databases


def sqlite_databases(directory: Path) -> dict[str, dict[str, Any]]:
    """The same aliases on SQLite; the reader reads the writer's file."""
    files = {"default": "shop", "reader": "shop", "external": "external"}
    databases: dict[str, dict[str, Any]] = {
        alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": directory / f"{name}.sqlite3"}
        for alias, name in files.items()
    }
    databases["reader"]["TEST"] = {"MIRROR": "default"}
    return databases


if os.environ.get("SHOP_SQLITE"):
    DATABASES = sqlite_databases(Path(os.environ["SHOP_SQLITE"]))
    AURORA_ROUTING = {"CLUSTERS": {"default": {"writer": "default", "readers": ["reader"]}}}
else:
    DATABASES = cluster_databases()
    # Whoever has written reads from the writer until every reader has it, by the lag that the cluster reports.
    AURORA_ROUTING = {"PIN_POLICY": "lag"}
DATABASE_ROUTERS = [
    "django_aurora_routing.routers.DynamicDbRouter",
    "django_aurora_routing.routers.ReadWriteRouter",
]
INSTALLED_APPS = [
    "django_aurora_routing",
    "testproject.shop",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django_aurora_routing.middleware.ReadYourWritesMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "testproject.urls"
WSGI_APPLICATION = "testproject.wsgi.application"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

# A project to look at and to test with, on loopback addresses only: no secrets to keep.
SECRET_KEY = "a shop for demonstrations"
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
