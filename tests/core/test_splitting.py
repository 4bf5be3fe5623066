"""The plugin `srw`: which endpoint an alias goes to, and what is wrong with what is said of them."""

from typing import Any

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.options import ParsedOptions, parse_options
from django_aurora_routing.core.splitting import Verification, fixed_endpoint
from django_aurora_routing.core.topology import Role

BOTH: dict[str, Any] = {"plugins": "srw", "srw_read_endpoint": "r.example:3307", "srw_write_endpoint": "w.example"}


def parse(**raw: Any) -> ParsedOptions:
    return parse_options(raw, driver_names=())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (BOTH, Address("w.example", 3310)),
        ({**BOTH, "read_only": True}, Address("r.example", 3307)),
        ({**BOTH, "read_only": "true", "plugins": "iam, srw"}, Address("r.example", 3307)),
        ({**BOTH, "srw_write_endpoint": " W.example.:3308 "}, Address("w.example", 3308)),
        ({**BOTH, "plugins": "failover"}, None),
        ({"plugins": "srw"}, None),
        ({**BOTH, "srw_write_endpoint": "a,b"}, None),
        ({**BOTH, "srw_write_endpoint": 7}, None),
        ({}, None),
    ],
)
def test_where_an_alias_goes(options: dict[str, Any], expected: Address | None) -> None:
    found = fixed_endpoint(options, 3310)
    assert (found and Address(found.host.lower(), found.port)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Verification(Role.WRITER, 6.0, 0.1)),
        ({"read_only": True}, Verification(Role.READER, 6.0, 0.1)),
        ({"read_only": True, "srw_verify_initial_connection_type": "Writer"}, Verification(Role.WRITER, 6.0, 0.1)),
        (
            {"srw_connect_retry_timeout_ms": 500, "srw_connect_retry_interval_ms": 20},
            Verification(Role.WRITER, 0.5, 0.02),
        ),
        ({"srw_verify_new_connections": False}, None),
        ({"plugins": "failover"}, None),
    ],
)
def test_what_new_sessions_are_verified_to_be(options: dict[str, Any], expected: Verification | None) -> None:
    parsed = parse(**{**BOTH, **options})
    assert parsed.options.verification == expected
    assert [problem for problem in parsed.problems if problem.fatal] == []


@pytest.mark.parametrize("read_only", [False, True])
def test_fixed_endpoints_need_no_topology(read_only: bool) -> None:
    assert not parse(**BOTH, read_only=read_only).options.uses_topology
    assert parse(**{**BOTH, "plugins": "srw,failover_v2"}, read_only=read_only).options.uses_topology


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"plugins": "srw", "srw_read_endpoint": "r"}, "OPTIONS['srw_write_endpoint']: is needed by the plugin 'srw'."),
        ({**BOTH, "srw_read_endpoint": "r:port"}, "OPTIONS['srw_read_endpoint']: 'r:port' is no host name."),
        (
            {**BOTH, "srw_verify_initial_connection_type": "riter"},
            "OPTIONS['srw_verify_initial_connection_type']: 'riter'",
        ),
    ],
)
def test_what_is_wrong_with_them_is_said(options: dict[str, Any], said: str) -> None:
    (problem,) = parse(**options).problems
    assert problem.fatal
    assert str(problem).startswith(said)
