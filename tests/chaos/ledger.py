"""What the threads were told, kept where the death of their process cannot reach it: a file for each process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
"""`kind` says what it is about, `at` when it was made, by `time.monotonic()`, one clock for all processes."""


class Ledger:
    """Takes entries of one process, from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, kind: str, **facts: Any) -> None:
        """Add an entry, in one write: it is there as a whole or not at all."""
        os.write(self._file, json.dumps({"kind": kind, "at": time.monotonic(), **facts}).encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


class Reading:
    """All ledgers of a directory, read on from where one was the last time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}
        self.entries: list[Entry] = []

    def go_on(self) -> list[Entry]:
        """The entries that have come since; they are in `entries` from now on, each process's in its order."""
        new = [entry for path in sorted(self._directory.glob("*.ledger")) for entry in self._rest_of(path)]
        self.entries += new
        return new

    def _rest_of(self, path: Path) -> Iterator[Entry]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            self._read[path] = self._read.get(path, 0) + len(whole) + 1
            yield from map(json.loads, whole.split(b"\n"))
