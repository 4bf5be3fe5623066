"""What `models=` of a block means: a predicate of model classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from ..conf import did_you_mean


def includes(models: Iterable[Any] | Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a model is one of `models`: classes, "app_label.Model"s, app labels, or a function that says so.

    Proxies, and the models of that name which migrations see, count as the model that they stand for; the hidden
    models of many-to-many fields, as the model that has the field. An abstract class stands for the models made from
    it, a model that a setting has swapped for the one put in its place. Raises ImproperlyConfigured for a name that
    does not exist.
    """
    if callable(models) and not isinstance(models, type):
        return models
    entries = models if isinstance(models, Iterable) and not isinstance(models, (str, type)) else [models]
    apps_named: set[str] = set()
    named: set[str] = set()
    abstract: tuple[type[Model], ...] = ()
    for entry in entries:
        if isinstance(entry, str) and "." not in entry:
            if entry not in apps.app_configs:
                raise ImproperlyConfigured(f"models: there is no app {entry!r}.{did_you_mean(entry, apps.app_configs)}")
            apps_named.add(entry)
        elif isinstance(entry, type) and issubclass(entry, Model) and getattr(entry, "_meta", None) is not None:
            if entry._meta.abstract:
                abstract += (entry,)
            else:
                named.add(_name(entry))
        elif isinstance(entry, str):
            named.add(_name(_model(entry)))
        else:
            raise ValueError(f"models takes model classes, 'app_label.Model's and app labels, not {entry!r}.")

    def is_included(model: Any) -> bool:
        if model._meta.app_label in apps_named or _name(model) in named or issubclass(model, abstract):
            return True
        maker = getattr(model._meta, "auto_created", False)
        return bool(maker) and is_included(maker)

    return is_included


def label_of(model: Any) -> str:
    """The label of a model, or of Django's cache in the database, which comes to routers as what looks like a model."""
    meta = model._meta
    return str(getattr(meta, "label", None) or f"{meta.app_label}.{meta.object_name}")


def _name(model: Any) -> str:
    """The label of what the model stands for."""
    if not hasattr(model._meta, "concrete_model"):
        return label_of(model).lower()
    meta = model._meta.concrete_model._meta
    return str(_model(meta.swapped)._meta.label_lower if meta.swapped else meta.label_lower)


def _model(label: str) -> Any:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        names = [model._meta.label for model in apps.get_models()]
        raise ImproperlyConfigured(f"models: there is no model {label!r}.{did_you_mean(label, names)}") from None
