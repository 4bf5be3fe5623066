"""Keep-alive: what the options come to."""

from __future__ import annotations

import pytest

from django_aurora_routing.core.keepalive import KeepAlive
from django_aurora_routing.core.options import parse_options


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"tcp_keepalive": False}, KeepAlive(False)),
        ({"tcp_keepalive": False, "tcp_keepalive_time": 60}, KeepAlive(False)),
        ({"tcp_keepalive": True}, KeepAlive(True)),
        ({"tcp_keepalive_time": 60}, KeepAlive(True, idle=60)),
        ({"tcp_keepalive_interval": 5, "tcp_keepalive_probes": "4"}, KeepAlive(True, interval=5, probes=4)),
    ],
)
def test_what_is_said_is_set(given: dict[str, object], expected: KeepAlive | None) -> None:
    parsed = parse_options(given, driver_names=())
    assert parsed.problems == ()
    assert parsed.options.keepalive == expected


@pytest.mark.parametrize("given", [{"tcp_keepalive_probes": 0}, {"tcp_keepalive_time": 40_000}])
def test_what_no_system_takes_is_refused(given: dict[str, object]) -> None:
    assert parse_options(given, driver_names=()).problems[0].fatal
