"""Positions: who has all that another had, in MariaDB's words and in MySQL's."""

import pytest

from django_aurora_routing.core.positions import covers

U, V = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "5ffb1f2a-0000-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    ("position", "other", "answer"),
    [
        ("0-1-100", "0-1-100", True),
        ("0-1-101", "0-1-100", True),
        ("0-2-101", "0-1-100", True),  # another server wrote on
        ("0-1-99", "0-1-100", False),
        ("0-1-100,1-1-5", "0-1-100", True),
        ("0-1-100", "0-1-100,1-1-5", False),
        ("1-1-7,0-1-100", "0-1-100,1-1-5", True),
        (f"{U}:1-5", f"{U}:1-5", True),
        (f"{U}:1-5", f"{U}:1-6", False),
        (f"{U}:1-9", f"{U}:2-3:7", True),
        (f"{U}:1-3:5-9", f"{U}:1-5", False),
        (f"{U}:1-9,\n{V}:1-2", f"{V}:2", True),
        (f"{U}:1-9", f"{U}:1-2,{V}:1", False),
        (f"{U.upper()}:1-9", f"{U}:1-9", True),
        (f"{U}:1-9:other:1-3", f"{U}:other:1-3", True),
        (f"{U}:1-9:other:1-3", f"{U}:other:4", False),
        ("", "", False),  # where nothing is numbered nothing is proved
        ("0-1-5", "", False),
        ("", "0-1-5", False),
    ],
)
def test_covers(position: str, other: str, answer: bool) -> None:
    assert covers(position, other) is answer
