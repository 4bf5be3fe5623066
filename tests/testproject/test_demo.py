"""The demo keeps its promises, and leaves nothing behind when it is interrupted in the middle of the worst."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "testproject.demo"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

pytestmark = pytest.mark.slow


def processes_in(text: str) -> set[int]:
    return {int(pid) for pid in re.findall(r"mariadbd, process (\d+)", text)}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_promise_is_kept() -> None:
    done = subprocess.run(COMMAND, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for promise in ("rows lost                  0", "rows doubled               0", "half transactions          0"):
        assert promise in done.stdout
    assert re.search(r"12 reads were answered by 12 \(6 x\), 13 \(6 x\)", done.stdout)
    assert len(processes_in(done.stdout)) == 3
    assert not any(map(is_alive, processes_in(done.stdout)))


def test_ctrl_c_leaves_nothing_behind() -> None:
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if "killed instance 11" in line:
                demo.send_signal(signal.SIGINT)
                break
        said += demo.stdout.read()
    assert demo.returncode == 130, said
    assert "interrupted; servers stopped" in said
    assert len(processes_in(said)) == 3
    assert not any(map(is_alive, processes_in(said)))
