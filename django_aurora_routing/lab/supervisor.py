"""Owns the supervisor process: its life line to the owner, its control socket, and that nothing is left when it ends.

`python -m django_aurora_routing.lab.supervisor`: settings as one JSON line on standard input, which then stays open as
the life line; progress, and at last the state or an error, as JSON lines on standard output.
"""

import contextlib
import json
import logging
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import places
from .conductor import Conductor
from .errors import LabError
from .servers import Accounts
from .settings import Settings

logger = logging.getLogger(__name__)

# How often the owner's end is looked for; the life line tells it at once, unless a forked child of the owner holds it.
OWNER_SECONDS = 0.25


class Control:
    """The unix socket over which requests come: a JSON object a line, a thread a connection."""

    def __init__(self, path: Path, operations: dict[str, Callable[..., Any]]) -> None:
        self._operations = operations
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(os.fspath(path))
        self._socket.listen(64)

    def start(self) -> None:
        threading.Thread(target=self._serve, name="aurora-lab-control", daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._socket.accept()
            threading.Thread(target=self._talk, args=(client,), name="aurora-lab-request", daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, client.makefile("rwb") as stream:
            for line in stream:
                try:
                    stream.write(json.dumps(self._answer(json.loads(line))).encode() + b"\n")
                    stream.flush()
                except OSError:
                    return  # the asker has gone

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            operation = self._operations[request.pop("op")]
            return {"value": operation(**request)}
        except Exception as error:
            if not isinstance(error, LabError):
                logger.exception("a request failed")
            return {"error": _words(error)}


def operations(conductor: Conductor, stop: Callable[[], None]) -> dict[str, Callable[..., Any]]:
    """Every request there is, by name."""
    names = (
        "status kill freeze thaw revive heal add_reader catch_up delay_replication report"
        " refuse reset black_hole lose_answers delay clear hold_endpoint release_endpoint"
    )
    table: dict[str, Callable[..., Any]] = {name: getattr(conductor, name) for name in names.split()}
    table["promote"] = lambda **request: asdict(conductor.promote(**request))
    table["stop"] = stop
    return table


def main() -> int:
    settings = Settings.from_json(sys.stdin.readline())
    stop_reader, stop_writer = os.pipe()

    def stop(*_: object) -> None:
        os.write(stop_writer, b"\0")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)

    def say(**message: Any) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more, which the life line tells better
            print(json.dumps(message), flush=True)

    conductor = None
    place = places.directory(settings.name)
    try:
        places.sweep()
        lock = places.claim(place)
        guard = _start_guard(place)
    except (LabError, OSError) as error:
        say(error=_words(error))
        return 1
    try:
        _log_to(place)
        _raise_limits()
        accounts = Accounts(
            user=settings.user,
            password=settings.password,
            root_password=os.urandom(16).hex(),
            replica_password=os.urandom(16).hex(),
            databases=settings.databases,
        )
        conductor = Conductor(settings, place, accounts)
        starting = (conductor, place, accounts.root_password, stop, say)
        threading.Thread(target=_start, args=starting, name="aurora-lab-start", daemon=True).start()
        _wait(stop_reader, settings.owner)
    except LabError as error:
        say(error=str(error))
    finally:
        if conductor is not None:
            conductor.stop()
        places.clear(place)
        os.close(lock)
        assert guard.stdin is not None
        guard.stdin.close()
    return 0


def _start(
    conductor: Conductor, place: Path, root_password: str, stop: Callable[[], None], say: Callable[..., None]
) -> None:
    """Start the cluster beside the waiting main thread, so that an owner's end is heard meanwhile."""
    try:
        conductor.start(lambda text: say(say=text))
        state = {
            "pid": os.getpid(),
            "settings": json.loads(conductor.settings.to_json()),
            "root_password": root_password,
        }
        Control(places.control_path(place), operations(conductor, stop)).start()
        places.write_state(place, state)
        say(ready=state)
    except BaseException as error:
        logger.exception("the cluster did not start")
        say(error=_words(error))
        stop()
    finally:
        # Whoever waits for the end of this output must not wait for the cluster's.
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 1)


def _wait(stop_reader: int, owner: int) -> None:
    """Return when told to stop, or when the owner has gone."""
    watched = [stop_reader, 0] if owner else [stop_reader]
    while True:
        ready, _, _ = select.select(watched, [], [], OWNER_SECONDS if owner else None)
        if stop_reader in ready:
            return
        if 0 in ready and not os.read(0, 4096):
            return
        if owner and os.getppid() != owner:
            return


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, LabError) else f"the lab failed: {error!r}"


def _start_guard(place: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "django_aurora_routing.lab.guard", os.fspath(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _log_to(place: Path) -> None:
    log = open(place / "supervisor.log", "a", buffering=1)  # noqa: SIM115 - it stays open as standard error
    os.dup2(log.fileno(), 2)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def _raise_limits() -> None:
    """A thousand clients are two thousand descriptors here, and a thousand in a server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
