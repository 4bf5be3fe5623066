"""What a measurement and the processes that it starts say to each other: a line at a time, answers in JSON."""

from __future__ import annotations

import json
import subprocess
from typing import Any


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    print(line, file=process.stdin, flush=True)


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next answer; ends the measurement where the process has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a process ended with {process.wait()}")
    answer: dict[str, Any] = json.loads(line)
    return answer
