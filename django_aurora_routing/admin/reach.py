"""Which models the pages of an admin touch: those related to the registered one, as far as relations lead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Model

# What the admin itself works with: who is asking, what they may do, and the log of what was done.
OF_THE_ADMIN = frozenset({"admin", "auth", "contenttypes", "sessions"})
# Of these, the rows that a constraint of the database demands are wanted beside the rows that refer to them.
_CONSTRAINED = frozenset({"auth"})


def reach_of(models: Iterable[type[Model]]) -> frozenset[type[Model]]:
    """`models` and all models related to them, in either direction and over any distance.

    Relations end at the admin's own models, unless they are of the same app as one of `models`. Users and groups
    are within reach where a foreign key with a constraint refers to them, and what else refers to them is not:
    the database would take no row whose user it does not have.
    """
    found: set[type[Model]] = set()
    waiting: list[type[Model]] = [_concrete(model) for model in models]
    home = {model._meta.app_label for model in waiting}
    user = _concrete(get_user_model())
    while waiting:
        model = waiting.pop()
        if model in found:
            continue
        found.add(model)
        for field in model._meta.get_fields(include_hidden=True):
            other: Any = field.related_model
            if not isinstance(other, type):  # a generic foreign key leads anywhere
                continue
            other = _concrete(other)
            label = other._meta.app_label
            if label in home or (label not in OF_THE_ADMIN and other is not user):
                waiting.append(other)
            elif (label in _CONSTRAINED or other is user) and field.concrete and getattr(field, "db_constraint", False):
                found.add(other)
    return frozenset(found)


def _concrete(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model or model
