"""Owns the directories of clusters: where they are, which of them live, and removing what dead ones left."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import LabError

_LOCK, _STATE, _CONTROL = "lock", "state.json", "control"
_UNNAMED, _YOUNG_SECONDS = ".new-", 60.0
_LONGEST_SOCKET_PATH = 100
CLEAR_SECONDS = 5.0


def base() -> Path:
    """Return this user's directory of clusters, made if need be; nobody else can enter it."""
    name = f"aurora-lab-{os.getuid()}"
    path = Path(tempfile.gettempdir()) / name
    if len(os.fspath(path)) > _LONGEST_SOCKET_PATH - 40:
        path = Path("/tmp") / name  # a unix socket's path must be short
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LabError(f"{path} is not a directory that belongs to you alone; remove it and try again.")
    return path


def directory(name: str) -> Path:
    if not name or not name.replace("-", "").replace("_", "").isalnum() or len(name) > 30:
        raise LabError(f"{name!r} is no name for a cluster: letters, digits, - and _, at most 30.")
    return base() / name


def control_path(place: Path) -> Path:
    return place / _CONTROL


def claim(place: Path) -> int:
    """Make the directory and hold its lock; return the descriptor that holds it for as long as this process lives.

    It gets its name when the lock is held already: what has a name and no lock is dead.
    """
    while True:
        try:
            unnamed = Path(tempfile.mkdtemp(prefix=_UNNAMED, dir=base()))
            break
        except FileNotFoundError:
            pass  # the last cluster of another process has just taken the base with it
    descriptor = os.open(unnamed / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        unnamed.rename(place)
    except OSError:
        os.close(descriptor)
        shutil.rmtree(unnamed, ignore_errors=True)
        raise LabError(f"A cluster named {place.name!r} is there already.") from None
    return descriptor


def write_state(place: Path, state: dict[str, Any]) -> None:
    temporary = place / (_STATE + ".new")
    temporary.write_text(json.dumps(state))
    temporary.chmod(0o600)
    temporary.replace(place / _STATE)


def read_state(place: Path) -> dict[str, Any]:
    """Return what the cluster's supervisor wrote last. Raises LabError where no cluster lives."""
    if not is_alive(place):
        raise LabError(f"No cluster named {place.name!r} is running.")
    try:
        state: dict[str, Any] = json.loads((place / _STATE).read_text())
    except (OSError, ValueError):
        raise LabError(f"The cluster named {place.name!r} is only just starting; try again in a moment.") from None
    return state


def is_alive(place: Path) -> bool:
    """Whether a supervisor holds the directory's lock."""
    try:
        descriptor = os.open(place / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: others may look at the same time
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def living() -> list[str]:
    """Return the names of the clusters that run, sorted."""
    return sorted(place.name for place in _places() if not _is_unnamed(place) and is_alive(place))


def sweep() -> None:
    """Remove what dead clusters of this user left: their servers, should any live, and their files."""
    for place in _places():
        with contextlib.suppress(FileNotFoundError):  # another process sweeps too
            is_young = time.time() - place.stat().st_mtime < _YOUNG_SECONDS
            if not is_alive(place) and not (_is_unnamed(place) and is_young):
                clear(place)


def _places() -> list[Path]:
    try:
        return list(base().iterdir())
    except FileNotFoundError:
        return []


def _is_unnamed(place: Path) -> bool:
    return place.name.startswith(_UNNAMED)


def clear(place: Path) -> None:
    """Kill the servers that run in `place` and remove it; return when both are done."""
    deadline = time.monotonic() + CLEAR_SECONDS
    while True:
        servers = list(servers_in(place))
        for pid in servers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(place, ignore_errors=True)  # fails while a dying server still writes
        if not (servers or place.exists()) or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    with contextlib.suppress(OSError):
        place.parent.rmdir()


def servers_in(place: Path) -> Iterator[int]:
    """Ids of the processes whose data directory is in `place`; a list of ids kept in a file would be older."""
    mark = f"--datadir={place}/"
    proc = Path("/proc")
    if (proc / "self" / "cmdline").exists():
        for entry in proc.iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark.encode() in (entry / "cmdline").read_bytes():
                        yield int(entry.name)
        return
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        if mark in line:
            yield int(line.split()[0])
