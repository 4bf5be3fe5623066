"""Plugins of other people's: by dotted path, and by the entry point of a distribution that is really installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from django_aurora_routing.plugins import Plugin
from django_aurora_routing.plugins.loading import UnusablePlugin, entry_point_names, find_plugin

MODULE = """
from django_aurora_routing.plugins import Plugin

class SlowConnects(Plugin):
    pass

class NoPlugin:
    pass
"""

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution on the path, as pip does: a module, and its metadata with these entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(entries: str) -> None:
        (tmp_path / "slow_connects.py").write_text(MODULE)
        (tmp_path / "broken_plugin.py").write_text("import no_such_thing\n")
        info = tmp_path / "slow_connects-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-connects\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[django_aurora_routing.plugins]\n{entries}\n")

    yield made
    for name in ("slow_connects", "broken_plugin"):
        sys.modules.pop(name, None)


def test_an_entry_point_is_a_name(install: Install) -> None:
    assert "slow_connects" not in entry_point_names()
    install("slow_connects = slow_connects:SlowConnects")
    assert "slow_connects" in entry_point_names()
    assert find_plugin("slow_connects").__name__ == "SlowConnects"
    assert "slow_connects" in sys.modules


def test_a_dotted_path_is_a_name(install: Install) -> None:
    install("")
    assert issubclass(find_plugin("slow_connects.SlowConnects"), Plugin)


@pytest.mark.parametrize("name", ["connect_time", "execute_time", "dev"])
def test_our_own_are_found_in_the_same_way(name: str) -> None:
    assert issubclass(find_plugin(name), Plugin)


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("slow_connects.SlowConects", "module 'slow_connects' has no 'SlowConects'", "Did you mean 'SlowConnects'?"),
        ("slow_connects.NoPlugin", "is not a subclass of django_aurora_routing.plugins.Plugin", ""),
        ("slow_connects.Plugin.connect", "cannot be imported", "Write the dotted path of a class."),
        ("no.such.Module", "No module named 'no'", "Write the dotted path of a class."),
        ("broken_plugin.Mine", "No module named 'no_such_thing'", "Write the dotted path of a class."),
        ("broken", "the plugin 'broken' of slow-connects cannot be imported: No module named 'no_such_thing'", ""),
        ("missing", "the plugin 'missing' of slow-connects cannot be imported", ""),
    ],
)
def test_a_name_that_leads_to_no_plugin_says_why(install: Install, name: str, words: str, hint: str) -> None:
    install("broken = broken_plugin:Mine\nmissing = slow_connects:Missing")
    with pytest.raises(UnusablePlugin) as unusable:
        find_plugin(name)
    assert words in str(unusable.value)
    assert unusable.value.hint == hint


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_the_check_says_it(install: Install) -> None:
    install("slow_connects = slow_connects:SlowConnects")

    def found(plugins: str) -> list[tuple[str | None, str | None]]:
        conf = {"ENGINE": "django_aurora_routing.backends.mysql_connector", "OPTIONS": {"plugins": plugins}}
        with override_settings(DATABASES={"default": conf}):
            messages = run_checks(tags=["aurora_routing"])
        return [(m.id, m.hint) for m in messages if m.id != "aurora_routing.W001"]

    assert found("failover_v2,slow_connects") == []
    assert found("failover_v2,slow_conects") == [("aurora_routing.E001", "Did you mean 'slow_connects'?")]
    assert found("slow_connects.SlowConects") == [("aurora_routing.E001", "Did you mean 'SlowConnects'?")]
