"""Whom the topology monitor asks, by the priority that the options give."""

from __future__ import annotations

import pytest

from django_aurora_routing.core.asking import DEFAULT_PRIORITY, in_order
from django_aurora_routing.core.endpoints import Address

WRITER, FIRST, SECOND = Address("w"), Address("r1"), Address("r2")


@pytest.mark.parametrize(
    ("priority", "expected"),
    [
        (DEFAULT_PRIORITY, [FIRST, SECOND, WRITER]),
        (("strict_writer",), [WRITER]),
        (("strict_reader",), [FIRST, SECOND]),
        (("strict_writer", "strict_reader"), [WRITER, FIRST, SECOND]),
        (("writer_or_reader",), [WRITER, FIRST, SECOND]),
        (("strict_reader", "writer_or_reader"), [FIRST, SECOND, WRITER]),
    ],
)
def test_the_first_kind_that_there_is_comes_first(priority: tuple[str, ...], expected: list[Address]) -> None:
    assert in_order(priority, [FIRST, SECOND], WRITER) == expected
    assert in_order(priority, [FIRST, SECOND], None) == [a for a in expected if a != WRITER]
    assert in_order(priority, [], WRITER) == [a for a in expected if a == WRITER]
