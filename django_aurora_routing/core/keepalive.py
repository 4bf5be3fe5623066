"""TCP keep-alive: how soon a peer that has vanished without a word is noticed on an idle connection."""

from __future__ import annotations

from dataclasses import dataclass

from .option_values import Given

KEEPALIVE = "aurora_keepalive"
"""The name that it has among the arguments of a connection, until a driver of ours takes it out."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """What is set at the socket. `idle` and `interval` are in seconds; None leaves it as driver and system have it."""

    on: bool
    idle: int | None = None
    interval: int | None = None
    probes: int | None = None


def read_keepalive(given: Given) -> KeepAlive | None:
    """What the options say; None if they say nothing. A number without `tcp_keepalive` switches it on."""

    def whole(name: str) -> int | None:
        return None if given.of(name) is None else max(1, round(given.number(name)))

    numbers = [whole(f"tcp_keepalive_{name}") for name in ("time", "interval", "probes")]
    on = given.of("tcp_keepalive")
    if on is None and numbers == [None, None, None]:
        return None
    if on is False:
        return KeepAlive(False)
    return KeepAlive(True, *numbers)
