"""Runs views on a database: the view, the rendering of its page, what it streams, and the log beside it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.db.models import Model
from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.template.response import SimpleTemplateResponse
from django.urls import URLPattern, URLResolver

from ..routing import in_database
from ..routing.clusters import clusters
from ..routing.scopes import current_scope

View = Callable[..., HttpResponseBase]

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_PAGE = "_multidb_page"  # on a request, while a page answers it: (where it reads, which models)


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one admin: where they write, where those that only show something read, and which models."""

    using: str
    read_using: str | None
    routes: Callable[[type[Model]], bool]

    def reads_from(self, request: HttpRequest) -> str:
        """The alias for the reads of one request. What is about to be changed is read where it will be written."""
        if self.read_using is None or request.method not in _SAFE_METHODS:
            return self.using
        cluster = clusters().by_alias.get(self.read_using)
        if cluster is not None and cluster.writer == self.using and current_scope().must_read_its_writes(cluster):
            return self.using
        return self.read_using

    def blocks(self, reads_from: str) -> tuple[in_database, ...]:
        """The blocks to answer a request in, the outermost first."""
        own = in_database(self.using, write=True, models=self.routes)
        if reads_from == self.using:
            return (own,)
        return (own, in_database(reads_from, models=self.routes))

    def answer(self, view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The response of `view`, all of whose queries are made on the database, now or when it is rendered."""
        reads_from = self.reads_from(request)
        blocks = self.blocks(reads_from)
        around = getattr(request, _PAGE, None)
        setattr(request, _PAGE, (reads_from, self.routes))
        try:
            response: HttpResponseBase = _within(blocks, view)(request, *args, **kwargs)
        finally:
            setattr(request, _PAGE, around)
        if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
            _render_within(blocks, response)
        elif isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
            steps = _asynchronous_steps if response.is_async else _steps
            response.streaming_content = _within(blocks, steps)(response.streaming_content)
        return response


def is_answered(request: HttpRequest) -> bool:
    """Whether some page is answering `request` just now."""
    return getattr(request, _PAGE, None) is not None


def alias_of_page(request: HttpRequest, model: type[Model]) -> str | None:
    """Where the page that is answering `request` reads `model`; None where it leaves that to others."""
    alias, routes = getattr(request, _PAGE, None) or (None, None)
    return alias if routes is not None and routes(model) else None


def check_routed(pages: Pages, model: type[Model]) -> None:
    """Raise ImproperlyConfigured unless queries for `model` go where the pages want them."""
    with in_database(pages.using, write=True, models=pages.routes):
        alias = router.db_for_write(model)
    if alias != pages.using:
        raise ImproperlyConfigured(
            f"The admin of {model._meta.label} is for {pages.using!r}, but its queries would go to {alias!r}: put "
            "'django_aurora_routing.routers.DynamicDbRouter' first in DATABASE_ROUTERS."
        )


def log_with_the_change(using: str) -> AbstractContextManager[Any]:
    """Take back the admin's log of a change on `using` when the change itself fails.

    The log is in another database, so it needs a transaction of its own, around the other one.
    """
    from django.contrib.admin.models import LogEntry

    alias = router.db_for_write(LogEntry)
    return contextlib.nullcontext() if alias == using else transaction.atomic(using=alias)


def with_own_content_types(formset: type[Any], using: str) -> type[Any]:
    """The formset of a generic inline, with the keys of content types that hold in the database of its rows.

    Those of the log are of another database, so they cannot be routed for the page as a whole.
    """
    if not hasattr(formset, "ct_field"):
        return formset
    block = in_database(using, write=True, models=["contenttypes"])
    methods = {name: block(getattr(formset, name)) for name in ("__init__", "save_new")}
    return type(formset.__name__, (formset,), methods)


def wrapped(
    patterns: Iterable[URLPattern | URLResolver], wrap: Callable[[View], View]
) -> list[URLPattern | URLResolver]:
    """The same URLs, each of whose views went through `wrap`."""
    result: list[URLPattern | URLResolver] = []
    for item in patterns:
        if isinstance(item, URLResolver):
            inner = wrapped(item.url_patterns, wrap)
            result.append(URLResolver(item.pattern, inner, item.default_kwargs, item.app_name, item.namespace))
        else:
            view: Any = item.callback
            result.append(URLPattern(item.pattern, functools.wraps(view)(wrap(view)), item.default_args, item.name))
    return result


def _within(blocks: tuple[in_database, ...], function: Callable[..., Any]) -> Callable[..., Any]:
    for block in reversed(blocks):
        function = block(function)
    return function


def _render_within(blocks: tuple[in_database, ...], response: Any) -> None:
    def render() -> Any:
        del response.render  # a rendered response may be pickled, and this function not
        return _within(blocks, response.render)()

    response.render = render


def _steps(content: Iterable[Any]) -> Iterator[Any]:
    yield from content


async def _asynchronous_steps(content: AsyncIterable[Any]) -> AsyncIterator[Any]:
    async for part in content:
        yield part
