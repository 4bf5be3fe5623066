"""On what a measurement was made, and with what."""

from __future__ import annotations

import os
import platform
from importlib import metadata

PACKAGES = (
    "django-aurora-routing",
    "Django",
    "mysql-connector-python",
    "mysqlclient",
    "aws-advanced-python-wrapper",
    "django-dynamic-db-router",
)


def setting() -> str:
    """On what, with what, and how far to trust it."""
    return "\n".join(
        (
            ", ".join([python(), *versions_of(*PACKAGES)]),
            f"mysql-connector-python runs {implementation()}",
            f"{machine()}, load {os.getloadavg()[0]:.1f}. All is on"
            " one machine, servers too: trust the ratios,\nwhose two sides took turns; times hold for this machine and"
            " this minute. On a network each round trip costs more.",
        )
    )


def versions_of(*packages: str) -> list[str]:
    """Name and version of those that are installed."""
    return [f"{name} {version}" for name in packages if (version := _version_of(name))]


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def implementation() -> str:
    import mysql.connector

    return "as a C extension" if mysql.connector.HAVE_CEXT else "in pure Python (its C extension does not load here)"


def python() -> str:
    return f"Python {platform.python_version()}"


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
