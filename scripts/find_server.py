"""Say whether this machine can run the lab: exit 0 in silence, or 1 with the reason.

On macOS it also gives the loopback interface the addresses that the lab's instances listen on.
"""

from __future__ import annotations

import subprocess
import sys

from django_aurora_routing.lab.binaries import find_program
from django_aurora_routing.lab.errors import LabError

LOOPBACK_ADDRESSES = [f"127.0.0.{last}" for last in range(10, 31)]


def add_loopback_addresses() -> None:
    """Linux owns 127/8; macOS has 127.0.0.1 alone until told otherwise, and forgets at the next boot."""
    known = subprocess.run(["ifconfig", "lo0"], capture_output=True, text=True, check=True).stdout.split()
    missing = [address for address in LOOPBACK_ADDRESSES if address not in known]
    if missing:
        print("[setup] adding loopback addresses 127.0.0.10-30 (sudo asks for your password)", flush=True)
        script = "\n".join(f"ifconfig lo0 alias {address}" for address in missing)
        subprocess.run(["sudo", "sh", "-ec", script], check=True)


def main() -> int:
    if sys.platform == "darwin":
        add_loopback_addresses()
    try:
        find_program()
    except LabError as error:
        print(f"[setup] {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
