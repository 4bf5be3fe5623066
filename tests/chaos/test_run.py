"""A few seconds of chaos, as `make chaos` runs it; and what is left when it is interrupted, or its parent killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tests.chaos", "--seed", "7", "--seconds"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def processes_of(mark: str) -> list[int]:
    """Those that have the mark in their environment: the run, its children and its servers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def test_a_short_run_keeps_every_promise() -> None:
    done = subprocess.run([*COMMAND, "8"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "BROKEN" not in done.stdout
    assert re.search(r"every promise was kept: make chaos SEED=7 MINUTES=0.1333", done.stdout)
    assert re.search(r"exactly once +[1-9]\d* acknowledged", done.stdout)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_nothing_is_left_behind(end: signal.Signals) -> None:
    mark = f"CHAOS_MARK={os.getpid()}-{time.monotonic()}"
    name, _, value = mark.partition("=")
    with subprocess.Popen(
        [*COMMAND, "60"],
        cwd=ROOT,
        env={**ENVIRONMENT, name: value},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        assert run.stdout is not None
        said = ""
        for line in run.stdout:
            said += line
            if " x receipt" in line:
                run.send_signal(end)
                break
        said += run.stdout.read()
    assert run.returncode == (130 if end is signal.SIGINT else -end), said
    deadline = time.monotonic() + 60
    while processes_of(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(mark) == []
