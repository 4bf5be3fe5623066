"""Finds the class of a plugin by its name in OPTIONS["plugins"]: a dotted path, or an entry point of a distribution."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..core.option_values import nearest
from ..core.plugins import PLUGIN_TABLE
from .base import Plugin

GROUP = "django_aurora_routing.plugins"
"""The group of entry points."""


class UnusablePlugin(Exception):
    """A name leads to no plugin; `hint` says what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def entry_point_names() -> frozenset[str]:
    """The plugins that installed distributions offer."""
    return frozenset(found.name for found in entry_points(group=GROUP))


def find_plugin(name: str) -> type[Plugin]:
    """The class that a name stands for, imported. Raises UnusablePlugin with the reason."""
    path = PLUGIN_TABLE[name].extension if name in PLUGIN_TABLE else name
    found: Any = _at(path) if "." in path else _offered_as(path)
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise UnusablePlugin(f"{name!r} is not a subclass of django_aurora_routing.plugins.Plugin.")
    return found


def _at(path: str) -> Any:
    module_path, _, class_name = path.rpartition(".")
    try:
        module = importlib.import_module(module_path)
    except Exception as exc:
        raise UnusablePlugin(f"{path!r} cannot be imported: {exc}.", "Write the dotted path of a class.") from exc
    if not hasattr(module, class_name):
        raise UnusablePlugin(f"module {module_path!r} has no {class_name!r}.", nearest(class_name, vars(module)))
    return getattr(module, class_name)


def _offered_as(name: str) -> Any:
    found: EntryPoint = next(iter(entry_points(group=GROUP, name=name)))
    try:
        return found.load()
    except Exception as exc:
        distribution = found.dist.name if found.dist is not None else "a distribution"
        raise UnusablePlugin(f"the plugin {name!r} of {distribution} cannot be imported: {exc}.") from exc
