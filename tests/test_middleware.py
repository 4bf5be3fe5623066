"""ReadYourWritesMiddleware with real pages, on SQLite files that never replicate: a reader never catches up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_started
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings

from django_aurora_routing.core.staleness import Lag
from django_aurora_routing.middleware import ReadYourWritesMiddleware
from django_aurora_routing.routing import lag, scopes
from django_aurora_routing.routing.scopes import current_scope
from django_aurora_routing.routing.stores import COOKIE, HEADER, CacheStore
from django_aurora_routing.routing.tokens import dump_token, load_token
from tests.routing.conftest import CLUSTERS, both_routers, databases  # noqa: F401
from tests.routing.models import Author

OURS = "django_aurora_routing.middleware.ReadYourWritesMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
KINDS = ["sync", "async"]
STALE = {"reader1", "reader2"}
"""What a page shows that read from a reader."""


@pytest.fixture(autouse=True)
def site(both_routers: None) -> Iterator[None]:  # noqa: F811
    cache.clear()
    with override_settings(ROOT_URLCONF="tests.pages", MIDDLEWARE=[OURS]):
        yield


def with_settings(**more: Any) -> Any:
    return override_settings(AURORA_ROUTING={**CLUSTERS, **more})


class Visitor:
    """A browser, with its cookies, before Django's synchronous or asynchronous handler."""

    def __init__(self, handler: str) -> None:
        self.client: Any = (Client if handler == "sync" else AsyncClient)(raise_request_exception=False)
        self.stream = f"/{handler}/stream"  # Django warns of the other kind

    def __call__(self, page: str, method: str = "get", **more: Any) -> Any:
        if isinstance(self.client, Client):
            response = getattr(self.client, method)(page, **more)
            response.text_shown = response.getvalue().decode()
            return response

        async def visit() -> Any:
            response = await getattr(self.client, method)(page, **more)
            if response.streaming:
                response.text_shown = b"".join([part async for part in response]).decode()
                await asyncio.to_thread(response.close)
            else:
                response.text_shown = response.content.decode()
            return response

        return asyncio.run(visit())

    def shows(self, page: str, **more: Any) -> str:
        return str(self(page, **more).text_shown)

    def header(self, name: str, value: str) -> dict[str, str]:
        """The argument that sends a header. Django 4.2 has `headers=` too, but not for its asynchronous client."""
        return {f"HTTP_{name.upper().replace('-', '_')}" if isinstance(self.client, Client) else name: value}


@pytest.fixture(params=KINDS)
def visitor(request: Any) -> Visitor:
    return Visitor(request.param)


@pytest.fixture(params=KINDS)
def kind(request: Any) -> str:
    """The kind of the page, which need not be that of the handler."""
    return str(request.param)


# -- the cookie


def test_the_next_request_reads_what_this_one_wrote(visitor: Visitor, kind: str) -> None:
    assert visitor.shows(f"/{kind}/read") in STALE
    assert visitor.shows(f"/{kind}/write?name=new", method="post") == "default new"
    assert visitor.shows(f"/{kind}/read") == "default new"
    assert Visitor("sync").shows(f"/{kind}/read") in STALE  # another person


def test_trap_26_a_get_that_writes_counts(visitor: Visitor, kind: str) -> None:
    response = visitor(f"/{kind}/write?name=new")
    assert COOKIE in response.cookies
    assert visitor.shows(f"/{kind}/read") == "default new"


def test_trap_27_the_verb_decides_nothing(visitor: Visitor, kind: str) -> None:
    response = visitor(f"/{kind}/read", method="post")
    assert response.text_shown in STALE
    assert COOKIE not in response.cookies


def test_trap_28_a_form_that_is_only_validated_does_not_pin(visitor: Visitor) -> None:
    response = visitor("/validate", method="post")
    assert response.text_shown in STALE
    assert not response.cookies
    assert "Vary" not in response.headers


def test_what_is_rolled_back_does_not_count(visitor: Visitor) -> None:
    assert not visitor("/rolled_back", method="post").cookies


def test_trap_25_a_view_that_raises_has_written_all_the_same(visitor: Visitor, kind: str) -> None:
    response = visitor(f"/{kind}/fail", method="post")
    assert response.status_code == 500
    assert visitor.shows(f"/{kind}/read") == "default failed"
    assert Visitor("sync").shows(f"/{kind}/read") in STALE


def test_trap_24_the_pin_does_not_outlive_the_request_on_its_thread(visitor: Visitor, kind: str) -> None:
    for _ in range(3):
        assert visitor.shows(f"/{kind}/write?name=new", method="post").startswith("default")
        visitor.client.cookies.clear()
        assert visitor.shows(f"/{kind}/read") in STALE


def test_the_cookie(visitor: Visitor) -> None:
    like_this = {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_PATH": "/app", "SESSION_COOKIE_DOMAIN": "testserver"}
    with override_settings(**like_this), with_settings(PIN_SECONDS=2.5):
        cookie = visitor("/sync/write?name=new", method="post").cookies[COOKIE]
    told = {name: cookie[name] for name in ("max-age", "path", "domain", "secure", "httponly", "samesite")}
    assert told == {
        "max-age": 3,
        "path": "/app",
        "domain": "testserver",
        "secure": True,
        "httponly": True,
        "samesite": "Lax",
    }
    assert len(cookie.value) < 70
    assert cookie.OutputString().startswith(f"{COOKIE}={cookie.value};")  # without quotes


def test_a_request_that_only_reads_does_not_make_the_pin_longer(visitor: Visitor) -> None:
    visitor("/sync/write?name=new", method="post")
    response = visitor("/sync/read")
    assert response.text_shown == "default new"
    assert not response.cookies


def test_the_pin_ends(visitor: Visitor) -> None:
    with with_settings(PIN_SECONDS=0.4):
        visitor("/sync/write?name=new", method="post")
        visitor.client.cookies[COOKIE]["max-age"] = 60  # a client that keeps it longer gets nothing by that
        assert visitor.shows("/sync/read") == "default new"
        time.sleep(0.5)
        assert visitor.shows("/sync/read") in STALE


def test_trap_29_the_window_starts_at_commit(visitor: Visitor) -> None:
    response = visitor("/slow_commit", method="post")
    assert load_token(response.cookies[COOKIE].value)["default"] >= float(response.text_shown)


def test_trap_37_a_forged_cookie_pins_to_nothing(visitor: Visitor) -> None:
    real = visitor("/sync/write?name=new", method="post").cookies[COOKIE].value
    for forged in ("y", real[:-1], "x" + real, real.replace("default", "other"), "é", "a" * 5000, ":", "default.1:x"):
        visitor.client.cookies[COOKIE] = forged
        response = visitor("/sync/read")
        assert (response.status_code, response.text_shown in STALE) == (200, True)


def test_writes_that_django_did_not_see(visitor: Visitor) -> None:
    Author.objects.using("default").create(name="procedure")
    scopes.unpin()
    assert visitor.shows("/sync/read") in STALE
    visitor("/outside")
    assert visitor.shows("/sync/read") == "default procedure"


def test_trap_40_one_reader_that_has_caught_up_is_not_enough(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = {"reader1": 0.0, "reader2": 3600.0}

    class Source:
        def lags(self, alias: str) -> tuple[Lag, ...]:
            return (Lag(alias, behind[alias], time.monotonic()),)

        def request_newer(self, alias: str) -> None:
            pass

    monkeypatch.setattr(lag, "_sources", [Source()])
    with with_settings(PIN_POLICY="lag", PIN_SECONDS=60):
        visitor("/sync/write?name=new", method="post")
        time.sleep(0.01)
        assert [visitor.shows("/sync/read") for _ in range(5)] == ["default new"] * 5
        behind["reader2"] = 0.0
        assert visitor.shows("/sync/read") in STALE  # these files never do catch up, but said they had


# -- transactions


@pytest.mark.parametrize("atomic", [False, True])
def test_trap_31_atomic_requests_neither_pins_nor_hides(visitor: Visitor, atomic: bool) -> None:
    connections.settings["default"]["ATOMIC_REQUESTS"] = atomic
    assert visitor.shows("/sync/read") in STALE
    assert visitor.shows("/explicit") == "default"  # trap 30
    assert visitor.shows("/non_atomic") == "default"
    assert visitor.shows("/sync/write?name=new") == "default new"
    assert visitor.shows("/sync/read") == "default new"
    visitor.client.cookies.clear()
    assert visitor("/sync/fail").status_code == 500
    assert (COOKIE in visitor.client.cookies) is not atomic  # rolled back with the request
    assert visitor.shows("/sync/read") in STALE if atomic else visitor.shows("/sync/read").startswith("default")


def test_a_transaction_of_a_middleware_is_not_that_of_the_view() -> None:
    connections.settings["default"]["ATOMIC_REQUESTS"] = True
    seen = []

    def page(request: HttpRequest) -> HttpResponse:
        with transaction.atomic():
            seen.append(Author.objects.get().name)
        return HttpResponse()

    request_started.send(sender=None)
    ReadYourWritesMiddleware(page)(RequestFactory().get("/"))
    scopes._end_request()
    assert seen == ["default"]


# -- streams


def test_a_stream_reads_its_own_writes(visitor: Visitor) -> None:
    assert visitor.shows(visitor.stream) == "default streamed"
    assert visitor.shows("/sync/read") in STALE  # its headers were gone before it wrote


def test_what_a_stream_has_written_is_kept_by_a_store_that_needs_no_header(visitor: Visitor) -> None:
    asked = visitor.header("Authorization", "Bearer x")
    with with_settings(PIN_STORE="cache"):
        assert visitor.shows(visitor.stream, **asked) == "default streamed"
        assert visitor.shows("/sync/read", **asked) == "default streamed"


# -- without the signal


def request_scope_of(middleware_kind: str) -> tuple[Any, Any]:
    """The scope inside a request whose request_started did not reach its context, and the one after it."""
    if middleware_kind == "sync":
        inside: list[Any] = []

        def page(request: HttpRequest) -> HttpResponse:
            inside.append(current_scope())
            return HttpResponse()

        ReadYourWritesMiddleware(page)(RequestFactory().get("/"))
        return inside[0], current_scope()

    async def main() -> tuple[Any, Any]:
        inside = []

        async def page(request: HttpRequest) -> HttpResponse:
            inside.append(current_scope())
            return HttpResponse()

        middleware: Any = ReadYourWritesMiddleware(page)
        await middleware(RequestFactory().get("/"))
        return inside[0], current_scope()

    return asyncio.run(main())


def test_trap_12_it_opens_and_closes_a_scope_of_its_own_where_there_is_none(kind: str) -> None:
    inside, after = request_scope_of(kind)
    assert inside.is_request
    assert not after.is_request


def test_trap_12_as_django_5_sends_the_signal_in_another_task(visitor: Visitor, kind: str) -> None:
    request_started.disconnect(dispatch_uid=scopes._begin_request)
    try:
        test_the_next_request_reads_what_this_one_wrote(visitor, kind)
        visitor.client.cookies.clear()
        assert visitor.shows(visitor.stream) == "default new streamed"
        assert not current_scope().is_request
    finally:
        request_started.connect(scopes._begin_request, dispatch_uid=scopes._begin_request)


def test_concurrent_asynchronous_requests_see_their_own_writes_and_nobody_elses_pin() -> None:
    async def person(number: int) -> None:
        client = AsyncClient()
        for turn in range(3):
            name = f"{number}.{turn}"
            assert name in (await client.post(f"/async/slow_write?name={name}")).content.decode().split()
            assert name in (await client.get("/async/read")).content.decode().split()
            assert name in (await client.get("/sync/read")).content.decode().split()
        assert (await AsyncClient().get("/async/read")).content.decode() in STALE

    async def main() -> None:
        await asyncio.gather(*(person(number) for number in range(20)))

    asyncio.run(main())


# -- other stores


def test_trap_38_a_client_without_cookies_sends_a_header(visitor: Visitor, kind: str) -> None:
    with with_settings(PIN_STORE="header"):
        response = visitor(f"/{kind}/write?name=new", method="post")
        assert not response.cookies
        again = visitor(f"/{kind}/read", **visitor.header(HEADER, response[HEADER]))
        assert again.text_shown == "default new"
        assert HEADER not in again.headers
        assert visitor.shows(f"/{kind}/read") in STALE


def test_trap_38_the_cache_knows_a_client_by_its_authorization(visitor: Visitor, kind: str) -> None:
    mine, anothers = (visitor.header("Authorization", f"Token {whose}") for whose in ("mine", "another's"))
    with with_settings(PIN_STORE="cache"):
        response = visitor(f"/{kind}/write?name=new", method="post", **mine)
        assert not response.cookies
        assert visitor.shows(f"/{kind}/read", **mine) == "default new"
        assert visitor.shows(f"/{kind}/read", **anothers) in STALE
        assert visitor.shows(f"/{kind}/read") in STALE


def test_two_requests_of_one_person_at_once_do_not_take_each_others_news_from_the_cache() -> None:
    clusters = {
        "default": {"writer": "default", "readers": ["reader1"]},
        "other": {"writer": "external", "readers": ["reader2"]},
    }
    request = RequestFactory().get("/", HTTP_AUTHORIZATION="Token mine")
    with with_settings(CLUSTERS=clusters):
        now = time.time()
        for commits in ({"default": now}, {"other": now - 1}, {"default": now - 2}):
            CacheStore().save(request, HttpResponse(), dump_token(commits))
        kept = load_token(CacheStore().load(request))
    assert kept == {"default": pytest.approx(now, abs=0.002), "other": pytest.approx(now - 1, abs=0.002)}


class NoCache:
    def get(self, key: str) -> Any:
        raise ConnectionError("no cache")

    def set(self, key: str, value: Any, seconds: int) -> None:
        raise ConnectionError("no cache")


def test_a_cache_that_is_down_makes_no_page_fail(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("django_aurora_routing.routing.stores.cache", NoCache())
    asked = visitor.header("Authorization", "Token mine")
    with with_settings(PIN_STORE="cache"):
        assert visitor("/sync/write?name=new", method="post", **asked).status_code == 200
    assert "did not take" in caplog.text
    assert "mine" not in caplog.text


@pytest.fixture
def accounts() -> Iterator[None]:
    """The tables of users and sessions, with one user everywhere."""
    with override_settings(AURORA_ROUTING={}):  # to write on readers
        for alias in ("default", "reader1", "reader2"):
            with connections[alias].schema_editor() as editor:
                for model in (ContentType, Permission, Group, User, Session):
                    editor.create_model(model)
            User(pk=1, username="me", password="!").save(using=alias)
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
        yield


@pytest.mark.parametrize(
    ("store", "middleware"),
    [
        ("cookie", [OURS, SESSIONS, AUTH]),
        ("session", [SESSIONS, OURS, AUTH]),
        ("cache", [OURS, SESSIONS, AUTH]),
        ("cache", [SESSIONS, OURS, AUTH]),
    ],
)
@pytest.mark.usefixtures("accounts")
def test_trap_34_a_login_is_not_lost(visitor: Visitor, store: str, middleware: list[str]) -> None:
    with override_settings(MIDDLEWARE=middleware), with_settings(PIN_STORE=store):
        visitor("/log_in", method="post")
        assert visitor.shows("/who") == "me"
        assert visitor.shows("/sync/write?name=new") == "default new"
        assert visitor.shows("/sync/read") == "default new"
        with with_settings(PIN_STORE=store, PIN_SECONDS=0):  # as if long after: only the session knows
            assert visitor.shows("/sync/read") in STALE
            assert visitor.shows("/who") == "me"


@pytest.mark.usefixtures("accounts")
def test_the_session_is_left_alone_by_who_writes_nothing(visitor: Visitor) -> None:
    with override_settings(MIDDLEWARE=[SESSIONS, OURS]), with_settings(PIN_STORE="session"):
        response = visitor("/sync/read")
        assert (response.text_shown in STALE, "Vary" in response.headers, len(response.cookies)) == (True, False, 0)
        visitor("/visits")
        with with_settings(PIN_STORE="session", PIN_SECONDS=0):
            response = visitor("/sync/read")
        assert (response.text_shown in STALE, "Vary" in response.headers, len(response.cookies)) == (True, False, 0)
        assert visitor.shows("/visits") == "2"


@pytest.mark.usefixtures("accounts")
def test_trap_28_saving_a_session_does_not_pin_its_visitor(visitor: Visitor) -> None:
    with override_settings(MIDDLEWARE=[OURS, SESSIONS], SESSION_SAVE_EVERY_REQUEST=True):
        assert [visitor.shows("/visits") for _ in range(2)] == ["1", "2"]
        assert COOKIE not in visitor.client.cookies
        assert visitor.shows("/sync/read") in STALE
    with with_settings(ALWAYS_WRITER=[]), override_settings(MIDDLEWARE=[OURS, SESSIONS]):
        visitor("/visits")
        assert COOKIE in visitor.client.cookies


def test_the_session_store_says_what_it_needs(visitor: Visitor) -> None:
    visitor.client.raise_request_exception = True
    with with_settings(PIN_STORE="session"), pytest.raises(ImproperlyConfigured, match="list ReadYourWritesMiddleware"):
        visitor("/sync/read")


class Kept:
    """A store of one's own."""

    token: str | None = None

    def load(self, request: HttpRequest) -> str | None:
        return Kept.token

    def save(self, request: HttpRequest, response: HttpResponse, token: str) -> None:
        Kept.token = token


def test_a_store_of_ones_own(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kept, "token", None)
    with with_settings(PIN_STORE="tests.test_middleware.Kept"):
        visitor("/sync/write?name=new", method="post")
        assert visitor.shows("/sync/read") == "default new"


def test_what_a_store_writes_itself_is_not_the_visitors(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Kept, request: HttpRequest) -> str | None:
        Author.objects.create(name="row of the store")
        return None

    monkeypatch.setattr(Kept, "load", load)
    monkeypatch.setattr(Kept, "token", None)
    with with_settings(PIN_STORE="tests.test_middleware.Kept"):
        assert visitor.shows("/sync/read") in STALE
        assert Kept.token is None


@pytest.mark.parametrize(
    ("store", "complaint"),
    [
        ("cokie", "Did you mean 'cookie'"),
        ("no.such.module", "No module named"),
        ("tests.test_middleware.NoCache", "has no load"),
    ],
)
def test_a_wrong_store_is_refused_when_the_site_starts(store: str, complaint: str) -> None:
    with with_settings(PIN_STORE=store), pytest.raises(ImproperlyConfigured, match=complaint):
        ReadYourWritesMiddleware(lambda request: HttpResponse())
