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

    Proxy and deferred models count as the model that they stand for; so do the hidden models of many-to-many
    fields, with the model that has the field. Raises ImproperlyConfigured for a name that does not exist.
    """
    if isinstance(models, str):
        models = [models]
    if callable(models) and not isinstance(models, type):
        return models
    if isinstance(models, type):
        models = [models]
    labels: set[str] = set()
    classes: set[Any] = set()
    for entry in models:
        if isinstance(entry, type) and issubclass(entry, Model):
            classes.add(entry._meta.concrete_model)
        elif isinstance(entry, str) and "." in entry:
            classes.add(_model(entry))
        elif isinstance(entry, str):
            if entry not in apps.app_configs:
                raise ImproperlyConfigured(f"models: there is no app {entry!r}.{did_you_mean(entry, apps.app_configs)}")
            labels.add(entry)
        else:
            raise ValueError(f"models takes model classes, 'app_label.Model's and app labels, not {entry!r}.")

    def is_included(model: Any) -> bool:
        meta = model._meta
        if meta.app_label in labels or meta.concrete_model in classes:
            return True
        maker = meta.auto_created
        return bool(maker) and maker._meta.concrete_model in classes

    return is_included


def _model(label: str) -> Any:
    try:
        return apps.get_model(label)._meta.concrete_model
    except (LookupError, ValueError):
        names = [model._meta.label for model in apps.get_models()]
        raise ImproperlyConfigured(f"models: there is no model {label!r}.{did_you_mean(label, names)}") from None
