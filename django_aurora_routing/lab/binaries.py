"""Owns finding the server's program and making the first, empty data directory that all servers begin from."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

_PROGRAMS = ("mariadbd", "mysqld")
_DIRECTORIES = (
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/libexec",
    "/usr/local/opt/mariadb/bin",
    "/opt/homebrew/opt/mariadb/bin",
    "/opt/homebrew/bin",
    "/opt/local/lib/mariadb/bin",
)
_SHARES = ("share/mysql", "share/mariadb", "share")
# Of these, one name each: MariaDB 11 renamed them. The help tables and the sys schema are not needed.
_SYSTEM_SQL = (
    ("mariadb_system_tables.sql", "mysql_system_tables.sql"),
    ("mariadb_performance_tables.sql", "mysql_performance_tables.sql"),
    ("mariadb_system_tables_data.sql", "mysql_system_tables_data.sql"),
)

INSTALL_HINT = (
    "Install MariaDB's server: `apt-get install mariadb-server-core` (Debian, Ubuntu; it starts no service), "
    "`dnf install mariadb-server` (Fedora), `brew install mariadb` (macOS)."
)

# Small, and as fast as a server can be that survives SIGKILL of itself: what it wrote is in the kernel's page cache,
# which outlives the process, so nothing needs to reach the disk. Only a crash of the whole machine would lose rows.
COMMON_OPTIONS = (
    "--innodb-log-file-size=32M",
    "--innodb-buffer-pool-size=32M",
    "--innodb-autoextend-increment=1",
    "--innodb-doublewrite=0",
    "--innodb-flush-log-at-trx-commit=2",
    "--debug-no-sync",
    "--max-allowed-packet=64M",
)


@dataclass(frozen=True, slots=True)
class Program:
    """The server's program, and its scripts that make the system tables."""

    path: Path
    version: str
    system_sql: tuple[Path, ...]


def find_program() -> Program:
    """Return the MariaDB server of this machine. Raises LabError that names the packages to install."""
    found = []
    for name in _PROGRAMS:
        search = os.pathsep.join((os.environ.get("PATH", ""), *_DIRECTORIES))
        path = shutil.which(name, path=search)
        if path is None:
            continue
        version = subprocess.run([path, "--no-defaults", "--version"], capture_output=True, text=True).stdout.strip()
        if "MariaDB" in version:
            return Program(path=Path(path), version=version, system_sql=_find_system_sql(Path(path)))
        found.append(f"{path} ({version or 'no version'})")
    if found:
        raise LabError(f"The lab needs MariaDB and found only {', '.join(found)}. {INSTALL_HINT}")
    raise LabError(f"Found neither mariadbd nor mysqld on PATH or in {', '.join(_DIRECTORIES)}. {INSTALL_HINT}")


def make_template(program: Program, directory: Path, scratch: Path) -> None:
    """Make the data directory that every server starts from a copy of.

    What mariadb-install-db does, without it: it needs programs of the client package, and takes three times as long.
    """
    directory.mkdir()
    sql = b"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"
    sql += b"\n".join(path.read_bytes() for path in program.system_sql) + b"\n"
    error_log = scratch / "template.log"
    done = subprocess.run(
        [
            str(program.path),
            "--no-defaults",
            "--bootstrap",
            f"--datadir={directory}",
            f"--tmpdir={scratch}",
            f"--log-error={error_log}",
            "--enforce-storage-engine=",
            *run_as_root(),
            *COMMON_OPTIONS,
        ],
        input=sql,
        capture_output=True,
    )
    if done.returncode:
        log = error_log.read_text(errors="replace") if error_log.exists() else done.stderr.decode(errors="replace")
        raise LabError(f"{program.path} could not make its system tables (exit {done.returncode}):\n{log[-2000:]}")


def run_as_root() -> tuple[str, ...]:
    """The option without which mariadbd refuses to run as root; in a container there is often nobody else."""
    return ("--user=root",) if os.geteuid() == 0 else ()


def _find_system_sql(program: Path) -> tuple[Path, ...]:
    bases = []
    for path in (program, program.resolve()):
        bases += [path.parent.parent, path.parent.parent.parent]
    folders = [base / share for base in (*bases, Path("/usr"), Path("/usr/local")) for share in _SHARES]
    for folder in folders:
        files = [next((folder / name for name in names if (folder / name).is_file()), None) for names in _SYSTEM_SQL]
        complete = tuple(file for file in files if file is not None)
        if len(complete) == len(_SYSTEM_SQL):
            return complete
    raise LabError(f"Found {program} but not its {_SYSTEM_SQL[0][1]}. {INSTALL_HINT}")
