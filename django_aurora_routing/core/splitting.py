"""The plugin `srw`: two fixed endpoints, for read-only aliases and for all others, and whom each may lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .endpoints import Address, parse_hosts
from .option_values import Given
from .topology import Role

NAME = "srw"
_READ, _WRITE = "srw_read_endpoint", "srw_write_endpoint"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a session at a fixed endpoint has to be, and how long it is tried for. Times in seconds."""

    role: Role
    timeout: float
    interval: float


def _is_true(value: object) -> bool:
    return str(value).strip().lower() == "true"


def fixed_endpoint(options: Mapping[Any, Any], port: int) -> Address | None:
    """Where an alias with these OPTIONS goes by `srw`; None without it, and where what it says cannot be used."""
    if NAME not in [name.strip() for name in str(options.get("plugins")).split(",")]:
        return None
    try:
        (address,) = parse_hosts(options.get(_READ if _is_true(options.get("read_only")) else _WRITE), port)
    except ValueError:
        return None
    return address


def read_spare(given: Given, plugins: tuple[str, ...], port: int, *, is_strict: bool) -> Address | None:
    """The write endpoint, where a read-only alias goes while it can have no reader; None for one that may not."""
    if NAME not in plugins or not given.of("read_only") or is_strict:
        return None
    return fixed_endpoint({"plugins": NAME, _WRITE: given.of(_WRITE)}, port)


def read_verification(given: Given, plugins: tuple[str, ...], port: int) -> Verification | None:
    """The role that new sessions are verified to have; None without `srw`, and where it is not to be verified."""
    if NAME not in plugins:
        return None
    is_reader = bool(given.of("read_only"))
    needed = _READ if is_reader else _WRITE
    for name in (_READ, _WRITE):
        if (value := given.of(name)) is None:
            if name == needed:
                given.say(f"OPTIONS[{name!r}]", "is needed by the plugin 'srw'.", "Write 'host' or 'host:port'.")
            continue
        try:
            (_,) = parse_hosts([value], port)
        except ValueError as exc:
            given.say(f"OPTIONS[{name!r}]", f"{exc}.", "Write 'host' or 'host:port'.")
    if not given.of("srw_verify_new_connections"):
        return None
    role = given.of("srw_verify_initial_connection_type") or ("reader" if is_reader else "writer")
    return Verification(
        Role(role), given.number("srw_connect_retry_timeout_ms"), given.number("srw_connect_retry_interval_ms")
    )
