"""Owns the last clean-up: a process that outlives a killed supervisor, ends its servers and removes its files.

`python -m django_aurora_routing.lab.guard DIRECTORY`, with a pipe from the supervisor as its standard input. It works
alike on Linux and macOS, and it takes the files too, which a death signal to the servers (PR_SET_PDEATHSIG) would not.
"""

import signal
import sys
from pathlib import Path

from . import places


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    place = Path(sys.argv[1])
    identity = place.stat().st_ino
    sys.stdin.buffer.read()
    try:
        is_ours = place.stat().st_ino == identity
    except FileNotFoundError:
        is_ours = True  # cleaned up; look all the same for a server that was just being started
    if is_ours:
        places.clear(place)


if __name__ == "__main__":
    main()
