"""FailoverRetryMiddleware: a request whose work a failover has rolled back, handled once more from the start."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from ..errors import FailoverSuccessError

logger = logging.getLogger(__name__)

View = TypeVar("View", bound=Callable[..., Any])

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_READ = ("_body", "_stream", "_read_started", "_post", "_files", "_encoding", "_upload_handlers")
"""What a request keeps of its body, which the client sends once."""
_TURN = "_failover_turn"


def safe_to_retry(view: View) -> View:
    """Mark a view for FailoverRetryMiddleware: run again after a failover, whatever the method, it does no harm.

    That is so when all that it does is in one transaction. For views that are classes,
    `@method_decorator(safe_to_retry, name="dispatch")`.
    """
    view.safe_to_retry = True  # type: ignore[attr-defined]
    return view


class FailoverRetryMiddleware:
    """Handles a request again, once, when its view has ended in FailoverSuccessError.

    So for GET, HEAD and OPTIONS, and for views with `@safe_to_retry`. All middleware listed below this one is run
    again, too, with the request as it came: list it above those that read the session, and below
    ReadYourWritesMiddleware. Works in synchronous and asynchronous stacks without a thread in between.
    """

    sync_capable = True
    async_capable = True

    longest_seconds = 30.0
    """A request that has taken longer is not handled again: hardly anybody waits for it any more."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._call_async(request)
        turn = _Turn(request, self.longest_seconds)
        response = self.get_response(request)
        if turn.is_wanted_again:
            turn.rewind()
            response = self.get_response(request)
        return cast(HttpResponseBase, response)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        turn = _Turn(request, self.longest_seconds)
        response = await self.get_response(request)
        if turn.is_wanted_again:
            turn.rewind()
            response = await self.get_response(request)
        return cast(HttpResponseBase, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Stand in for the response if the request is to be handled again; else the error goes its way."""
        turn: _Turn | None = getattr(request, _TURN, None)
        if turn is None or not isinstance(exception, FailoverSuccessError) or not turn.may_come_again():
            return None
        logger.info("%s %s is handled again: %s", request.method, request.path, exception)
        turn.is_wanted_again = True
        # For the middleware in between, which saves no session with it. No client sees it.
        return HttpResponse(status=500)


class _Turn:
    """One request on its first way through: as it came, and whether it is to go once more."""

    def __init__(self, request: HttpRequest, longest: float) -> None:
        self.request = request
        self.is_wanted_again = False
        self._until = time.monotonic() + longest
        self._before = dict(vars(request))
        setattr(request, _TURN, self)

    def may_come_again(self) -> bool:
        request = self.request
        match = request.resolver_match
        is_safe = request.method in SAFE_METHODS or (match is not None and getattr(match.func, "safe_to_retry", False))
        return is_safe and self._is_body_there() and time.monotonic() < self._until

    def _is_body_there(self) -> bool:
        """Whether the body can be read again: it was not begun, or it is kept, as a whole or as parsed."""
        kept = vars(self.request)
        if any(file.closed for file in _files(kept)):
            return False
        # After a view has read from the request itself, Django takes its form for empty.
        return bool(not kept.get("_read_started") or "_body" in kept or kept.get("_post") or kept.get("_files"))

    def rewind(self) -> None:
        """Make the request what it was, but for what was read of its body."""
        kept = vars(self.request)
        read = {name: kept[name] for name in _READ if name in kept}
        kept.clear()
        kept.update(self._before | read)
        if "_body" in read:
            kept["_stream"] = io.BytesIO(read["_body"])
        for file in _files(read):
            file.seek(0)


def _files(kept: Mapping[str, Any]) -> list[Any]:
    """The uploads of a request that were parsed."""
    return [file for _, files in kept["_files"].lists() for file in files] if "_files" in kept else []
