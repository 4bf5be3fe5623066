"""`python -m benchmarks [--only NAME] [--quick]`: run one measurement, or all, each in a process of its own."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

# A module here is a measurement with a `main()`; what several share begins with an underscore.
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
PACKAGES = (
    "django-aurora-routing",
    "Django",
    "mysql-connector-python",
    "mysqlclient",
    "aws-advanced-python-wrapper",
    "django-dynamic-db-router",
)


def main() -> int:
    """Run them one after the other; the exit code says whether all could be run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What we cost, next to others.")
    parser.add_argument("--only", action="append", choices=NAMES, help="this measurement; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    options = parser.parse_args()
    print(setting())
    failed = []
    for name in options.only or NAMES:
        print(f"\n=== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if options.quick else [])]
        if subprocess.run(command).returncode:
            failed.append(name)
    if failed:
        print(f"\nCould not be measured: {', '.join(failed)}.", file=sys.stderr)
    return bool(failed)


def setting() -> str:
    """On what, with what, and how far to trust it."""
    found = [f"{name} {version}" for name in PACKAGES if (version := version_of(name))]
    return "\n".join(
        (
            f"Python {platform.python_version()}, {', '.join(found)}",
            f"mysql-connector-python runs {implementation()}",
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}. All is on"
            " one machine, servers too: trust the ratios,\nwhose two sides took turns; times hold for this machine and"
            " this minute. On a network each round trip costs more.",
        )
    )


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def implementation() -> str:
    import mysql.connector

    return "as a C extension" if mysql.connector.HAVE_CEXT else "in pure Python (its C extension does not load here)"


if __name__ == "__main__":
    sys.exit(main())
