"""Says where a query would go and why, by asking the routers that Django would ask; decides nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, router
from django.db.models import Model

from .context import alias_for, current, owners
from .decision import Route, beside_the_block
from .scopes import Scope


class Decision(NamedTuple):
    """Where a query goes, and why."""

    alias: str
    reason: str
    router: str
    """The class of the router that decided; empty where none had an opinion."""
    blocks: tuple[str, ...]
    """The blocks in force, innermost first."""

    def __str__(self) -> str:
        by = f" ({self.router})" if self.router else ""
        inside = f"; inside {', '.join(self.blocks)}" if self.blocks else ""
        return f"{self.alias!r}: {self.reason}{by}{inside}"


def explain_route(model: type[Model], *, write: bool = False, instance: Model | None = None) -> Decision:
    """Where a read of `model` would go here and now, or a write, and why: `print(explain_route(Order))`.

    `instance` is the object on behalf of which it is made, as in `order.lines.all()` or `order.save()`. Runs no query
    of the application's; where the scope has no reader yet it is given one, which the next read will use. Raises what
    the query would raise: NoReaderAvailable, DatabaseNotActive.
    """
    return explained(model, {} if instance is None else {"instance": instance}, write=write)


def explained(model: type[Model], hints: Mapping[str, Any], *, write: bool) -> Decision:
    """`explain_route` with any hints."""
    instance = hints.get("instance")
    blocks = tuple(repr(owner) for owner in owners() if not isinstance(owner, Scope))
    for one in router.routers:
        route = _asked(one, model, hints, write=write)
        if route.alias:
            return Decision(route.alias, route.reason, type(one).__qualname__, blocks)
    if instance is not None and instance._state.db:
        return Decision(instance._state.db, "no router has an opinion, and its instance came from there", "", blocks)
    return Decision(DEFAULT_DB_ALIAS, "no router has an opinion", "", blocks)


def by_blocks(model: type[Model], instance: Model | None, *, write: bool) -> Route:
    """What DynamicDbRouter answers, and why."""
    frame, kind = current(), "write" if write else "read"
    if frame is not None and (alias := alias_for(frame[1] if write else frame[0], model)) is not None:
        block = next((one for one in owners() if one.database == alias and getattr(one, kind, False)), None)
        return Route(alias, f"{block!r} is in force")
    if instance is not None:
        hints = {"instance": instance}
        if (alias := beside_the_block(model, instance, hints, write=write)) is not None:
            return Route(alias, f"the block for {instance._state.db!r}, its instance's database, does not {kind} there")
    return Route(None, "no block in force is about it")


def _asked(one: Any, model: type[Model], hints: Mapping[str, Any], *, write: bool) -> Route:
    """What a router answers. Those that are not ours give no reason, nor do subclasses with an answer of their own."""
    name = "db_for_write" if write else "db_for_read"
    answers, explains = _class_with(one, name), _class_with(one, "explain")
    if explains is not None and answers is not None and issubclass(explains, answers):
        route: Route = one.explain(model, hints.get("instance"), write=write)
        return route
    if answers is None:
        return Route(None, "it does not answer this")
    alias = getattr(one, name)(model, **hints)
    return Route(alias, "this router says so and gives no reason")


def _class_with(one: object, name: str) -> type | None:
    """The class that a method comes from."""
    return next((cls for cls in type(one).__mro__ if name in vars(cls)), None)
