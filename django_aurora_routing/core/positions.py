"""Positions in a history of transactions: whether a server has all that another had; texts as servers give them.

https://mariadb.com/docs/server/ha-and-performance/standard-replication/gtid
https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html
"""

from __future__ import annotations


def covers(position: str, other: str) -> bool:
    """Whether who is at `position` has all transactions that who is at `other` has. Unknown ones, empty, prove nothing.

    MariaDB's are lists of `domain-server-number`, of which a replica applies each domain in the order of its numbers.
    MySQL's are sets: `uuid:1-5:7,uuid:tag:1-3`.
    """
    if not position or not other:
        return False
    if ":" in other:
        return _is_subset(_as_sets(other), _as_sets(position))
    reached = _by_domain(position)
    return all(reached.get(domain, -1) >= number for domain, number in _by_domain(other).items())


def _by_domain(position: str) -> dict[str, int]:
    parts = [gtid.strip().split("-") for gtid in position.split(",") if gtid.strip()]
    return {domain: int(number) for domain, _, number in parts}


def _as_sets(position: str) -> dict[str, list[tuple[int, int]]]:
    """First and last number of each interval, by source and tag."""
    sets: dict[str, list[tuple[int, int]]] = {}
    for entry in position.split(","):
        source, *parts = entry.strip().lower().split(":")
        name = source
        for part in parts:
            if not part[0].isdigit():
                name = f"{source}:{part}"
                continue
            first, _, last = part.partition("-")
            sets.setdefault(name, []).append((int(first), int(last or first)))
    return sets


def _is_subset(some: dict[str, list[tuple[int, int]]], all_of: dict[str, list[tuple[int, int]]]) -> bool:
    """Servers join intervals that touch each other, so one that is covered lies in one."""
    return all(
        any(low <= first and last <= high for low, high in all_of.get(name, ()))
        for name, intervals in some.items()
        for first, last in intervals
    )
