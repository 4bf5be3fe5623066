"""What the documentation must not forget: every option that has an effect, and every system check."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_aurora_routing.admin import options
from django_aurora_routing.checks import backend, project, readers, routing
from django_aurora_routing.core.option_table import OPTION_TABLE

DOCS = Path(__file__).resolve().parent.parent / "docs"
CHECK_IDS = sorted(
    {
        check_id
        for module in (backend, project, readers, routing, options)
        for check_id in re.findall(r"\b[EWI]\d{3}\b", Path(module.__file__).read_text())
    }
)


@pytest.mark.parametrize("name", [row.name for row in OPTION_TABLE.values() if row.active])
def test_an_option_with_an_effect_is_in_the_table(name: str) -> None:
    assert f"* - ``{name}``" in (DOCS / "options.rst").read_text()


@pytest.mark.parametrize("check_id", CHECK_IDS)
def test_a_check_has_its_heading(check_id: str) -> None:
    assert f"``aurora_routing.{check_id}``\n---" in (DOCS / "checks.rst").read_text()


def test_there_is_no_heading_without_its_check() -> None:
    headings = re.findall(r"^``aurora_routing\.(\w+)``$", (DOCS / "checks.rst").read_text(), re.MULTILINE)
    assert sorted(headings) == CHECK_IDS
