"""Asking both routers at once: Django's own chain costs more for each router than they do.

DynamicDbRouter is the first in DATABASE_ROUTERS and ReadWriteRouter usually stands right behind it. Then nothing
is to be asked in between, so the first answers for both, by a function without the calls between them. Django asks
the second only when the first has no opinion, and the first has then asked it already.

What the scope remembers of a model is good while this thread has a connection to the reader, which otherwise may be
gone by now, and no transaction on the writer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from . import decision
from .context import alias_for, current
from .decision import Pick

Answer = Callable[..., "str | None"]


def in_blocks(model: type[Model], instance: Model | None = None, **hints: Any) -> str | None:
    """Where the blocks in force send a read; None outside of them."""
    frame = current()
    if frame is not None and frame[0] is not None and (alias := alias_for(frame[0], model)) is not None:
        return alias
    if instance is not None:
        return decision.beside_the_block(model, instance, {"instance": instance, **hints}, write=False)
    return None


def has_no_transaction(writer: BaseDatabaseWrapper) -> bool:
    """Whether the writer's alias has autocommit off only because it has not been connected yet."""
    return writer.connection is None and not writer.in_atomic_block


def reading(home: str, pick: Pick) -> Answer:
    """What a ReadWriteRouter for the cluster named `home` answers."""
    here = decision.here

    def db_for_read(model: type[Model], instance: Model | None = None, **hints: Any) -> str | None:
        if instance is None:
            frame = current()
            if frame is not None and (known := frame[2].get(model)) is not None:
                alias, of, wrappers, reader, of_writer = known
                is_ours = wrappers is here.__dict__ and of is home and reader.connection is not None
                if is_ours and (
                    (writer := wrappers.get(of_writer)) is None or writer.autocommit or has_no_transaction(writer)
                ):
                    return alias
            return decision.remembered(home, model, pick)
        return decision.noted(decision.read_from(home, model, instance, pick), model)

    return db_for_read


def both(home: str, pick: Pick) -> Answer:
    """What a DynamicDbRouter answers that has a ReadWriteRouter right behind it: `in_blocks`, then `reading`."""
    here, read = decision.here, reading(home, pick)

    def db_for_read(model: type[Model], instance: Model | None = None, **hints: Any) -> str | None:
        frame = current()
        if instance is None and frame is not None:
            alias = frame[0]
            if alias is not None:
                if alias.__class__ is not str:
                    alias = alias_for(alias, model)
                if alias is not None:
                    return alias
            if (known := frame[2].get(model)) is not None:
                kept, of, wrappers, reader, of_writer = known
                is_ours = wrappers is here.__dict__ and of is home and reader.connection is not None
                if is_ours and (
                    (writer := wrappers.get(of_writer)) is None or writer.autocommit or has_no_transaction(writer)
                ):
                    return kept
        return in_blocks(model, instance, **hints) or read(model, instance, **hints)

    return db_for_read


def follower(first: object) -> Any:
    """The router that Django would ask right after this one."""
    routers = router.routers
    place = next((n for n, one in enumerate(routers) if one is first), len(routers))
    return routers[place + 1] if place + 1 < len(routers) else None
