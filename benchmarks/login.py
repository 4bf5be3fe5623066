"""What credentials add to a connect: those of the settings, those that are kept, and a token that is signed anew.

`python -m benchmarks.login [--quick]`. The driver connects to nothing, so what is left is our own work. Also, how
many fetches a thousand threads cause that start at once.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from django_aurora_routing.aws.tokens import issue_token
from django_aurora_routing.cluster.credentials import CREDENTIALS, log_in
from django_aurora_routing.cluster.logins import credentials_of
from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.logins import IamLogin

from ._tables import print_table
from ._timing import timed

HERE = Address("shop-1.abc123.eu-west-1.rds.amazonaws.com")
THREADS = 1000


class Nowhere:
    """A driver whose connections cost nothing."""

    def connect(self, address: Address, params: Mapping[str, Any], timeout: float) -> object:
        return params

    def facts(self, error: BaseException) -> None:
        return None


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    rounds = 5 if parser.parse_args().quick else 50
    os.environ |= {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "x"}
    login = IamLogin("shop", "eu-west-1", "", None, 870.0, None)
    plain: dict[str, Any] = dict.fromkeys(("charset", "use_unicode", "database", "ssl_ca", "client_flags"), "x")
    kept = {**plain, CREDENTIALS: credentials_of(login)}
    driver: Any = Nowhere()
    log_in(driver, HERE, kept, 30)
    found = timed(
        {
            "password of the settings": lambda: log_in(driver, HERE, {**plain, "user": "u", "password": "p"}, 5),
            "a token that is kept": lambda: log_in(driver, HERE, kept, 5),
            "a token, signed": lambda: issue_token(login, HERE),
        },
        rounds=rounds,
        calls=20,
    )
    first = next(iter(found.values())).nanoseconds
    rows = [
        [name, f"{one.nanoseconds / 1000:.2f}", f"{(one.nanoseconds - first) / 1000:+.2f}"]
        for name, one in found.items()
    ]
    print_table("what a connect costs without the connection itself", ["us", "added us"], rows)
    print(crowd(driver, plain))


def crowd(driver: Any, plain: Mapping[str, Any]) -> str:
    credentials = credentials_of(IamLogin("crowd", "eu-west-1", "", None, 870.0, None))
    fetches: list[Address] = []
    fetch = credentials._fetch
    credentials._fetch = lambda address: (fetches.append(address), fetch(address))[1]
    barrier = threading.Barrier(THREADS + 1)

    def connect() -> None:
        barrier.wait()
        log_in(driver, HERE, {**plain, CREDENTIALS: credentials}, 60)

    threads = [threading.Thread(target=connect) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return f"\n{THREADS} threads at once: {len(fetches)} token signed, all done in {time.perf_counter() - began:.2f} s"


if __name__ == "__main__":
    main()
