"""`python -m benchmarks [NAME...]`: run the named measurements, or all, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# A module here is a measurement with a `main()`; what several share begins with an underscore.
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def main(wanted: list[str]) -> int:
    """Run them one after the other; the exit code says whether all could be run."""
    if unknown := set(wanted) - set(NAMES):
        print(f"No measurement {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    failed = []
    for name in wanted or NAMES:
        print(f"\n=== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode:
            failed.append(name)
    if failed:
        print(f"Could not be measured: {', '.join(failed)}.", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
