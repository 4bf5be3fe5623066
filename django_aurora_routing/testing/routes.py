"""Which alias each query of a test went to, and why; and the assertions about that."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Model

from ..core.effects import Effect, effect_of, first_words
from ..routing.decision import Route
from ..routing.explain import explained
from ..routing.guard import guard
from . import stand_ins
from .contexts import context


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that was sent."""

    alias: str
    sql: str
    words: str
    """How it begins."""
    model: str | None
    """The label of the model it is about, if it names the table of one."""
    reason: str | None
    """Why the routers chose the alias; None where they did not, as with `using()`."""
    writes: bool

    def __str__(self) -> str:
        return f"{self.alias}: {self.words} ({self.model or 'no model'}; {self.reason or 'named by the code'})"


class Routes(list[Query]):
    """The queries of a block, in the order in which they were sent. Printed, it has a line for each."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no query"

    def by_alias(self) -> dict[str, int]:
        """How many queries each alias got, for those that got any."""
        return dict(Counter(query.alias for query in self))

    def of(self, model: type[Model] | str) -> Routes:
        """Those about one model, a class or an "app.Model"."""
        label = model if isinstance(model, str) else model._meta.label
        return Routes(query for query in self if query.model is not None and query.model.lower() == label.lower())


@context
def capture_routes() -> Iterator[Routes]:
    """Every query inside the block: `with capture_routes() as routes: ...; print(routes)`.

    Statements that only begin or end a transaction are left out, which `assertNumQueries` counts. Connections that
    other threads have had open before are not watched.
    """
    routes, asked = Routes(), _Asked()

    def record(execute: Callable[..., Any], sql: Any, params: Any, many: bool, where: dict[str, Any]) -> Any:
        if (query := asked.query(where["connection"], str(sql))) is not None:
            routes.append(query)
        return execute(sql, params, many, where)

    watched: list[BaseDatabaseWrapper] = []

    def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
        wrappers = connection.execute_wrappers
        if record not in wrappers:
            # As far out as can be, where what the guard refuses does not come.
            wrappers.insert(wrappers.index(guard) + 1 if guard in wrappers else 0, record)
            watched.append(connection)

    for connection in connections.all():
        watch(connection)
    connection_created.connect(watch)
    stand_ins.created.append(watch)
    router.routers.insert(0, asked)
    try:
        yield routes
    finally:
        if asked in router.routers:  # other settings bring other routers
            router.routers.remove(asked)
        stand_ins.created.remove(watch)
        connection_created.disconnect(watch)
        for connection in watched:
            with contextlib.suppress(ValueError):
                connection.execute_wrappers.remove(record)


@context
def assert_routed_to(alias: str, model: type[Model] | str | None = None) -> Iterator[Routes]:
    """Fail unless the block makes queries, and all of them on this alias. With `model`, look at its queries alone."""
    with capture_routes() as routes:
        yield routes
    found = routes if model is None else routes.of(model)
    if not found:
        about = "" if model is None else f" about {model if isinstance(model, str) else model._meta.label}"
        raise AssertionError(f"There was no query{about}; {alias!r} was expected to get one. There was:\n{routes}")
    if any(query.alias != alias for query in found):
        raise AssertionError(f"Not all queries went to {alias!r}:\n{found}")


@context
def assert_num_queries_by_alias(expected: Mapping[str, int]) -> Iterator[Routes]:
    """Fail unless each alias gets as many queries as said, and others none: `{"default": 1, "reader": 2}`."""
    with capture_routes() as routes:
        yield routes
    wanted = {alias: number for alias, number in expected.items() if number}
    if (counted := routes.by_alias()) != wanted:
        raise AssertionError(f"Expected queries by alias: {wanted}, made: {counted}\n{routes}")


@context
def assert_no_writes() -> Iterator[Routes]:
    """Fail if the block sends a statement that writes, or that is not known not to."""
    with capture_routes() as routes:
        yield routes
    if writes := Routes(query for query in routes if query.writes):
        raise AssertionError(f"No writes were expected:\n{writes}")


_FROM = re.compile(r"""\b(?:FROM|INTO|UPDATE|JOIN)\s+["`]?([\w$]+)""", re.IGNORECASE)
_TRANSACTION = re.compile(r"\s*(?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|START\s+TRANSACTION)\b", re.IGNORECASE)


class _Asked:
    """The first of all routers: answers as the others do together, and keeps their reasons."""

    def __init__(self) -> None:
        self._reasons: dict[tuple[str, str, bool], str] = {}
        self._models = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return self._answer(model, hints, write=False)

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return self._answer(model, hints, write=True)

    def _answer(self, model: type[Model], hints: dict[str, Any], *, write: bool) -> str:
        decision = explained(model, hints, write=write)
        table = model._meta.db_table
        self._models.setdefault(table, model)
        self._reasons[table, decision.alias, write] = decision.reason
        return decision.alias

    def explain(self, model: type[Model], instance: Model | None, *, write: bool) -> Route:
        return Route(None, "it asks the others")

    def query(self, connection: BaseDatabaseWrapper, sql: str) -> Query | None:
        """What is known of a statement; None for one that is about a transaction."""
        if _TRANSACTION.match(sql):
            return None
        alias, effect = connection.alias, effect_of(sql, connection.vendor)
        table = next((name for name in _FROM.findall(sql) if name in self._models), None)
        words, writes = first_words(sql, connection.vendor), effect is Effect.WRITE
        if table is None:
            return Query(alias, sql, words, None, None, writes)
        for_writing = effect is not Effect.NONE  # as Django asks for select_for_update()
        reason = self._reasons.get((table, alias, for_writing)) or self._reasons.get((table, alias, not for_writing))
        return Query(alias, sql, words, self._models[table]._meta.label, reason, writes)
