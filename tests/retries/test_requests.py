"""FailoverRetryMiddleware: which requests are handled again, how often, and what they find."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.signals import got_request_exception
from django.test import AsyncClient, Client, override_settings

from django_aurora_routing import FailoverFailedError, FailoverSuccessError, TransactionResolutionUnknownError
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.middleware import FailoverRetryMiddleware
from tests.backends.conftest import Aliases
from tests.routing.conftest import databases as databases

from . import pages
from .conftest import kill_and_promote, rows

KINDS = ["sync", "async"]
LOST = FailoverSuccessError("as told")


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    pages.losses.clear()
    pages.turns.clear()
    middleware = [
        "django_aurora_routing.middleware.ReadYourWritesMiddleware",
        "django_aurora_routing.middleware.FailoverRetryMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ]
    with override_settings(ROOT_URLCONF="tests.retries.pages", MIDDLEWARE=middleware):
        yield


def ask(page: str, method: str = "get", *, handler: str = "sync", **more: Any) -> Any:
    if handler == "sync":
        return getattr(Client(raise_request_exception=False), method)(page, **more)

    async def visit() -> Any:
        return await getattr(AsyncClient(raise_request_exception=False), method)(page, **more)

    return asyncio.run(visit())


@pytest.mark.parametrize("handler", KINDS)
@pytest.mark.parametrize("view", KINDS)
@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_a_safe_request_is_handled_again_once(databases: Any, handler: str, view: str, method: str) -> None:
    reported: list[object] = []
    pages.losses.append(LOST)
    got_request_exception.connect(lambda **_: reported.append(1), weak=False, dispatch_uid="test")
    try:
        response = ask(f"/{view}", method, handler=handler)
    finally:
        got_request_exception.disconnect(dispatch_uid="test")
    assert response.status_code == 200
    assert pages.turns == [method.upper()] * 2
    assert reported == []
    if method == "get":
        assert response.content.decode() == {"sync": "turn 2, visit 1", "async": "turn 2"}[view], "in a fresh session"


@pytest.mark.parametrize("handler", KINDS)
def test_a_second_loss_is_reported(databases: Any, handler: str) -> None:
    pages.losses.extend([LOST, LOST])
    assert ask(f"/{handler}", handler=handler).status_code == 500
    assert len(pages.turns) == 2


@pytest.mark.parametrize(
    "error", [TransactionResolutionUnknownError("unknown"), FailoverFailedError("no writer"), ValueError()]
)
def test_other_errors_are_reported(databases: Any, error: Exception) -> None:
    pages.losses.append(error)
    assert ask("/sync").status_code == 500
    assert len(pages.turns) == 1


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_unsafe_methods_are_not_handled_again(databases: Any, method: str) -> None:
    pages.losses.append(LOST)
    assert ask("/async", method).status_code == 500
    assert len(pages.turns) == 1


def test_nor_is_who_has_waited_for_too_long(databases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FailoverRetryMiddleware, "longest_seconds", 0)
    pages.losses.append(LOST)
    assert ask("/sync").status_code == 500
    assert len(pages.turns) == 1


def test_a_response_that_has_begun_is_not_begun_again(databases: Any) -> None:
    pages.losses.append(LOST)
    response = ask("/stream")
    parts = iter(response.streaming_content)
    assert next(parts) == b"begun, "
    with pytest.raises(FailoverSuccessError):
        next(parts)
    assert len(pages.turns) == 1


@pytest.mark.parametrize("handler", KINDS)
def test_marked_views_find_the_form_and_the_files_again(databases: Any, handler: str) -> None:
    pages.losses.append(LOST)
    data = {"name": "Ada", "file": SimpleUploadedFile("file", b"uploaded")}
    assert ask("/form", "post", handler=handler, data=data).content == b"Ada uploaded"
    pages.losses.append(LOST)
    plain = {"data": "name=Ada", "content_type": "application/x-www-form-urlencoded"}
    assert ask("/form", "post", handler=handler, **plain).content == b"Ada"
    assert len(pages.turns) == 4


@pytest.mark.parametrize("handler", KINDS)
def test_marked_views_find_the_body_again(databases: Any, handler: str) -> None:
    pages.losses.append(LOST)
    response = ask("/body", "post", handler=handler, data="text ", content_type="text/plain")
    assert response.content == b"text text "
    assert len(pages.turns) == 2


def test_what_was_read_and_not_kept_cannot_be_handled_again(databases: Any) -> None:
    pages.losses.append(LOST)
    assert ask("/raw", "post", data="text", content_type="text/plain").status_code == 500
    assert ask("/raw", "post", data="text", content_type="text/plain").content == b"text"
    assert len(pages.turns) == 2


def test_classes_are_marked_by_their_dispatch(databases: Any) -> None:
    pages.losses.append(LOST)
    assert ask("/marked", "post").content == b"turn 2"


@pytest.mark.lab
@pytest.mark.parametrize("handler", KINDS)
@pytest.mark.parametrize(("page", "stored"), [("/write", [2, 100]), ("/write?last", [2])], ids=["in", "at COMMIT"])
def test_the_transaction_of_a_request_is_lost_on_a_real_server_and_made_anew(
    cluster: LocalCluster, writer: str, aliases: Aliases, handler: str, page: str, stored: list[int]
) -> None:
    aliases.remove_all()
    aliases.add(writer, ATOMIC_REQUESTS=True)
    pages.losses.append(lambda: kill_and_promote(cluster))
    assert ask(page, handler=handler).content == b"turn 2"
    assert rows(cluster) == stored
