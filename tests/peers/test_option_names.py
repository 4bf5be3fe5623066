"""Every option and plugin that the AWS wrapper knows is known here, so that its settings need only another ENGINE."""

from __future__ import annotations

import pytest

pytest.importorskip("aws_advanced_python_wrapper")

from aws_advanced_python_wrapper.plugin_service import PluginManager
from aws_advanced_python_wrapper.utils.properties import WrapperProperties, WrapperProperty

from django_aurora_routing.core.option_table import OPTION_TABLE, SPELLINGS
from django_aurora_routing.core.plugins import PLUGIN_TABLE
from django_aurora_routing.drivers.mysql_connector import OPTION_NAMES

pytestmark = pytest.mark.peers


def names_of_the_wrapper() -> list[str]:
    properties = vars(WrapperProperties).values()
    return sorted(item.name for item in properties if isinstance(item, WrapperProperty))


def test_every_option_of_the_wrapper_is_an_option_here() -> None:
    names = names_of_the_wrapper()
    assert len(names) > 100
    assert [name for name in names if SPELLINGS.get(name, name) not in {*OPTION_TABLE, *OPTION_NAMES}] == []


def test_every_plugin_of_the_wrapper_is_known_here() -> None:
    codes = set(PluginManager.PLUGIN_FACTORIES)
    assert len(codes) > 15
    assert codes - set(PLUGIN_TABLE) == set()
