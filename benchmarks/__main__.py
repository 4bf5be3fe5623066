"""`python -m benchmarks [--only NAME] [--quick]`: run one measurement, or all, each in a process of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from ._setting import setting

# A module here is a measurement with a `main()`; what several share begins with an underscore.
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


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


if __name__ == "__main__":
    sys.exit(main())
