"""Where the token of what a person has written waits for their next request: PIN_STORE by name.

A store of one's own, named by its dotted path, is a class with `load` and `save` as `Store` has them.
"""

from __future__ import annotations

import hashlib
import logging
import math
from typing import Any, Protocol, cast

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from ..conf import did_you_mean, listed, routing_settings
from .tokens import dump_token, load_token

logger = logging.getLogger(__name__)

COOKIE = "aurora_read_after"
HEADER = "Aurora-Read-After"
_SETTING = "AURORA_ROUTING['PIN_STORE']"


class Store(Protocol):
    """Asked on every request, and told of those that have written.

    `waits` may be left out, and is then true: `load` and `save` wait for something, so that asynchronous requests
    call them in a thread. `works_late`, by default false, says that `save` may also be called after the response's
    headers have been sent, for what was written while its body was made.
    """

    def load(self, request: HttpRequest) -> str | None:
        """The token of an earlier request of the same person. It may be forged or old: it is checked later."""

    def save(self, request: HttpRequest, response: HttpResponseBase, token: str) -> None:
        """Keep the token for PIN_SECONDS."""


def seconds_to_keep() -> int:
    """PIN_SECONDS for those who count in whole seconds."""
    return math.ceil(routing_settings().pin_seconds)


class CookieStore:
    """A cookie of its own, with the domain, path and Secure flag of the session's."""

    waits = False

    def load(self, request: HttpRequest) -> str | None:
        return request.COOKIES.get(COOKIE)

    def save(self, request: HttpRequest, response: HttpResponseBase, token: str) -> None:
        response.set_cookie(
            COOKIE,
            token,
            max_age=seconds_to_keep(),
            domain=settings.SESSION_COOKIE_DOMAIN,
            path=settings.SESSION_COOKIE_PATH,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )


class HeaderStore:
    """A header of the response, which the client sends back with its next requests: for those without cookies."""

    waits = False

    def load(self, request: HttpRequest) -> str | None:
        return request.headers.get(HEADER)

    def save(self, request: HttpRequest, response: HttpResponseBase, token: str) -> None:
        response.headers[HEADER] = token


class SessionStore:
    """The session. It is not read for clients that sent no session cookie, and counts as accessed only on writes."""

    key = "_aurora_read_after"

    def load(self, request: HttpRequest) -> str | None:
        session = self._session(request)
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return None
        accessed = session.accessed
        token = session.get(self.key)
        session.accessed = accessed  # the page does not depend on it, so it must not vary by cookie for that
        return cast("str | None", token)

    def save(self, request: HttpRequest, response: HttpResponseBase, token: str) -> None:
        self._session(request)[self.key] = token

    def _session(self, request: HttpRequest) -> Any:
        if not hasattr(request, "session"):
            raise ImproperlyConfigured(
                f"{_SETTING} is 'session', but the request has none: list ReadYourWritesMiddleware in MIDDLEWARE "
                "after django.contrib.sessions.middleware.SessionMiddleware, or choose another store."
            )
        return request.session


class CacheStore:
    """Django's default cache, by the session cookie or the Authorization header that the client sends.

    Neither needs a query to be known. Clients that send none of the two are not recognised; a subclass may
    recognise them by something else.
    """

    works_late = True

    def client(self, request: HttpRequest, response: HttpResponseBase | None = None) -> str | None:
        """What the client will send, told from the request, or the response too where there is one already."""
        name = settings.SESSION_COOKIE_NAME
        if response is not None:
            cookie = response.cookies.get(name)  # when this middleware is before Django's SessionMiddleware
            given = cookie.value if cookie is not None else getattr(request, "session", None)
            given = getattr(given, "session_key", given)  # after it; a login has changed the key
            if given:
                return str(given)
        return request.COOKIES.get(name) or request.headers.get("Authorization")

    def load(self, request: HttpRequest) -> str | None:
        client = self.client(request)
        return None if client is None else self._get(client)

    def save(self, request: HttpRequest, response: HttpResponseBase, token: str) -> None:
        client = self.client(request, response)
        if client is None:
            return
        # Requests of the same person may run at once; none must take away what another has stored.
        commits = load_token(self._get(client))
        for name, at in load_token(token).items():
            commits[name] = max(at, commits.get(name, at))
        try:
            cache.set(self._key(client), dump_token(commits), seconds_to_keep())
        except Exception:
            logger.warning("The cache did not take what a request has written.", exc_info=True)

    def _get(self, client: str) -> str | None:
        try:
            return cast("str | None", cache.get(self._key(client)))
        except Exception:
            logger.warning("The cache did not tell what a person has written.", exc_info=True)
            return None

    def _key(self, client: str) -> str:
        return f"aurora_read_after:{hashlib.sha256(client.encode()).hexdigest()}"  # not what a session is known by


_STORES: dict[str, type[Store]] = {
    "cookie": CookieStore,
    "session": SessionStore,
    "cache": CacheStore,
    "header": HeaderStore,
}


def store_of_settings() -> Store:
    """A new store as PIN_STORE says. Raises ImproperlyConfigured."""
    name = routing_settings().pin_store
    if (known := _STORES.get(name)) is not None:
        return known()
    if "." not in name:
        raise ImproperlyConfigured(
            f"{_SETTING} is {name!r}; it can be {listed(_STORES)} or the dotted path of a class."
            f"{did_you_mean(name, _STORES)}"
        )
    try:
        store = import_string(name)()
    except ImportError as error:
        raise ImproperlyConfigured(f"{_SETTING}: {error}") from error
    except TypeError as error:
        raise ImproperlyConfigured(f"{_SETTING}: {name} cannot be made without arguments: {error}") from error
    for method in ("load", "save"):
        if not callable(getattr(store, method, None)):
            raise ImproperlyConfigured(f"{_SETTING}: {name} has no {method}().")
    return cast(Store, store)
