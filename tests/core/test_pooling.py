"""OPTIONS["pool"]: the names of SQLAlchemy's pools and of psycopg's, and every mistake named."""

import math
from typing import Any

import pytest

from django_aurora_routing.core.options import ParsedOptions, parse_options
from django_aurora_routing.core.pooling import PoolLimits


def parse(pool: Any) -> ParsedOptions:
    return parse_options({"pool": pool}, driver_names=())


@pytest.mark.parametrize(
    ("pool", "limits"),
    [
        (None, None),
        (False, None),
        ({}, None),
        (True, PoolLimits(5, 10, 30.0, 3600.0)),
        ({"pool_size": 3, "max_overflow": 0}, PoolLimits(3, 0)),
        ({"max_overflow": -1}, PoolLimits(5, -1)),
        ({"min_size": 3, "max_size": 8}, PoolLimits(3, 5)),
        ({"min_size": 3}, PoolLimits(3, 0)),
        ({"max_size": 3}, PoolLimits(3, 0)),
        ({"max_size": 8}, PoolLimits(5, 3)),
        ({"pool_size": "7", "timeout": "2.5"}, PoolLimits(7, 10, 2.5)),
        ({"timeout": 1, "recycle": 60}, PoolLimits(timeout=1.0, lifetime=60.0)),
        ({"max_lifetime": 60}, PoolLimits(lifetime=60.0)),
        ({"recycle": -1}, PoolLimits(lifetime=math.inf)),
    ],
)
def test_what_is_said_of_a_pool(pool: Any, limits: PoolLimits | None) -> None:
    parsed = parse(pool)
    assert (parsed.options.pool, parsed.problems) == (limits, ())


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        (7, "OPTIONS['pool']: must be True or a dictionary, not 7."),
        ({"pool_sise": 3}, "OPTIONS['pool']['pool_sise']: is not an option of a pool. Did you mean 'pool_size'?"),
        ({"pool_timeout": 3}, "OPTIONS['pool']['pool_timeout']: is not an option of a pool. Did you mean 'timeout'?"),
        (
            {4: 3},
            "OPTIONS['pool'][4]: is not an option of a pool. Use one of: pool_size, max_overflow, timeout, recycle",
        ),
        ({"pool_size": 0}, "OPTIONS['pool']['pool_size']: must be from 1 to 100000, not 0."),
        ({"pool_size": "many"}, "OPTIONS['pool']['pool_size']: must be a whole number, not 'many'."),
        ({"timeout": 0}, "OPTIONS['pool']['timeout']: must be from 0.001 to 1000000, not 0."),
        ({"pool_size": 3, "min_size": 3}, "OPTIONS['pool']['min_size']: says the same as 'pool_size'. Leave one"),
        ({"min_size": 4, "max_size": 3}, "OPTIONS['pool']['max_size']: must not be less than the 4 sessions"),
        ({"pre_ping": True}, "OPTIONS['pool']['pre_ping']: has no use here. A session that has ended is found without"),
        ({"max_idle": 60}, "OPTIONS['pool']['max_idle']: has no use here. Sessions beyond pool_size are closed"),
    ],
)
def test_what_is_wrong_with_a_pool_is_said(pool: Any, said: str) -> None:
    (problem,) = parse(pool).problems
    assert problem.fatal
    assert str(problem).startswith(said)
