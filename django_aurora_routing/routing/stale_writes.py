"""Full saves of objects that a reader gave, which write back old values of columns changed since; and the way to lock.

`obj.save()` writes every column. A reader may be behind, so the columns that this code never meant to change may
undo what others have changed. AURORA_ROUTING["STALE_WRITES"] finds such saves.
"""

from __future__ import annotations

import logging
from typing import Any, TypeVar

from django.conf import settings
from django.db import router
from django.db.models import Model
from django.db.models.signals import pre_save

from ..conf import NAME, on_settings_changed, routing_settings
from .clusters import clusters

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=Model)


class StaleWrite(RuntimeError):
    """An object that a reader gave was about to be saved as a whole, and AURORA_ROUTING["STALE_WRITES"] is "error"."""


def lock_for_write(obj: M) -> M:
    """The object as the writer has it now, locked there (`select_for_update()`) until the transaction ends.

        with transaction.atomic():
            order = lock_for_write(order)
            order.status = "paid"
            order.save()

    It is a new object: what was changed in `obj` and not saved is not in it. Raises `obj.DoesNotExist` if it has been
    deleted, and TransactionManagementError outside a transaction, as Django does.
    """
    model = type(obj)
    alias = router.db_for_write(model, instance=obj)
    return model._base_manager.using(alias).select_for_update().get(pk=obj.pk)


def install() -> None:
    """Look at every save if STALE_WRITES wants it, else at none. Called when Django starts and settings change."""
    given: Any = getattr(settings, NAME, None)  # not checked here: what is wrong in it is for the checks to tell
    if isinstance(given, dict) and given.get("STALE_WRITES", "allow") != "allow":
        pre_save.connect(_look, dispatch_uid=_look)
    else:
        pre_save.disconnect(_look, dispatch_uid=_look)


on_settings_changed(install, NAME)


def _look(
    *, sender: type[Model], instance: Model, raw: bool, using: str, update_fields: frozenset[str] | None, **_: Any
) -> None:
    origin = instance._state.db
    if raw or update_fields is not None or origin is None or instance._state.adding or instance.pk is None:
        return
    known = clusters()
    if origin not in known.readers or known.by_alias[origin] is not known.by_alias.get(using):
        return
    policy = routing_settings().stale_writes
    if policy == "allow":
        return
    message = (
        f"{sender._meta.label} {instance.pk!r} was read from reader {origin!r} and is saved as a whole to {using!r}, "
        "which may undo newer changes. Use save(update_fields=[...]), lock_for_write(), or read it inside in_writer()."
    )
    if policy == "error":
        raise StaleWrite(message)
    logger.warning("%s", message, stack_info=True)
