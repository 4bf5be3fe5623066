"""ReadYourWritesMiddleware: a person's next request reads what this one has written; thin over routing/."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .retries.requests import FailoverRetryMiddleware as FailoverRetryMiddleware
from .routing.context import current, remove, restore
from .routing.scopes import Scope, current_scope, opened, scope
from .routing.stores import store_of_settings
from .routing.tokens import dump_token, load_token


class ReadYourWritesMiddleware:
    """Gives each request what its visitor has written before, and keeps what it writes for the next one.

    List it first in MIDDLEWARE, but for PIN_STORE "session": then right after SessionMiddleware. Requests that write
    nothing are left as they are. Works in synchronous and asynchronous stacks without a thread in between.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.store = store_of_settings()
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
            self.process_view: Callable[..., Any] = self._process_view_async
        else:
            self.process_view = self._process_view

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._call_async(request)
        visit = _Visit()
        try:
            visit.scope.adopt(self._load(request))
            response = cast(HttpResponseBase, self.get_response(request))
            if visit.has_news():
                self._save(request, response, visit)
            self._go_on_while_streaming(request, response, visit)
            return response
        finally:
            visit.leave()

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        waits = getattr(self.store, "waits", True)
        visit = _Visit()
        try:
            visit.scope.adopt(await sync_to_async(self._load)(request) if waits else self._load(request))
            response = cast(HttpResponseBase, await self.get_response(request))
            if visit.has_news():
                if waits:
                    await sync_to_async(self._save)(request, response, visit)
                else:
                    self._save(request, response, visit)
            self._go_on_while_streaming(request, response, visit)
            return response
        finally:
            visit.leave()

    def _process_view(self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Tell the scope in which transaction of ATOMIC_REQUESTS the view is going to run."""
        current_scope().non_atomic = frozenset(getattr(view, "_non_atomic_requests", ()))

    async def _process_view_async(self, *args: Any) -> None:
        self._process_view(*args)

    def _load(self, request: HttpRequest) -> dict[str, float]:
        if not getattr(self.store, "waits", True):
            return load_token(self.store.load(request))
        with scope("pin store"):  # what a store writes itself, a cache in the database say, is not the visitor's
            return load_token(self.store.load(request))

    def _save(self, request: HttpRequest, response: HttpResponseBase, visit: _Visit) -> None:
        if token := dump_token(visit.scope.commits()):
            with scope("pin store"):
                self.store.save(request, response, token)

    def _go_on_while_streaming(self, request: HttpRequest, response: HttpResponseBase, visit: _Visit) -> None:
        """What makes the body after we have returned is in the scope, too."""
        if not response.streaming:
            return
        visit.goes_on = True
        close = response.close

        def close_and_save() -> None:
            try:
                if getattr(self.store, "works_late", False) and visit.has_news():
                    self._save(request, response, visit)
            finally:
                visit.goes_on = False
                visit.leave()
                close()

        response.close = close_and_save  # type: ignore[method-assign]


class _Visit:
    """The scope of one request, from the middleware's point of view."""

    def __init__(self) -> None:
        self.scope = current_scope()
        self.is_own = not self.scope.is_request
        if self.is_own:
            # The signal did not reach us: Django 5 sends it in another asyncio task.
            self.scope = Scope("request")
            self.scope.is_request = True
            restore(self.scope.framed(current() or opened()))
        self.goes_on = False
        self._seen: float | None = None
        self._nothing_is_atomic()

    def _nothing_is_atomic(self) -> None:
        """Until its view is called and after, a request is in no transaction of ATOMIC_REQUESTS."""
        self.scope.non_atomic = frozenset(connections.settings)

    def has_news(self) -> bool:
        """Whether the request has written something since it was last asked."""
        self._nothing_is_atomic()
        before, self._seen = self._seen, self.scope.last_written()
        return self._seen != before

    def leave(self) -> None:
        if self.is_own and not self.goes_on:
            remove(self.scope)
