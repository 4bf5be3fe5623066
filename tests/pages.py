"""Pages that write and read authors, synchronous and asynchronous ones, for the tests of the middleware."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from django_aurora_routing.routing.scopes import mark_written
from tests.routing.models import Author


def answer() -> HttpResponse:
    return HttpResponse(" ".join(Author.objects.order_by("pk").values_list("name", flat=True)))


def read(request: HttpRequest) -> HttpResponse:
    return answer()


async def aread(request: HttpRequest) -> HttpResponse:
    return HttpResponse(" ".join([name async for name in Author.objects.order_by("pk").values_list("name", flat=True)]))


def write(request: HttpRequest) -> HttpResponse:
    Author.objects.create(name=request.GET["name"])
    return answer()


async def awrite(request: HttpRequest) -> HttpResponse:
    await Author.objects.acreate(name=request.GET["name"])
    return await aread(request)


def fail(request: HttpRequest) -> HttpResponse:
    Author.objects.create(name="failed")
    raise RuntimeError("after the write")


async def afail(request: HttpRequest) -> HttpResponse:
    await Author.objects.acreate(name="failed")
    raise RuntimeError("after the write")


def validate(request: HttpRequest) -> HttpResponse:
    """All that a valid form does but saving it."""
    try:
        Author(name="").full_clean()
    except ValidationError:
        Author.objects.get_or_create(name=Author.objects.using("default").first().name)
    return answer()


def rolled_back(request: HttpRequest) -> HttpResponse:
    try:
        with transaction.atomic():
            Author.objects.create(name="never")
            raise ValueError
    except ValueError:
        return HttpResponse()


def slow_commit(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        Author.objects.create(name="slow")
        time.sleep(0.2)
        before = time.time()
    return HttpResponse(str(before))


def explicit(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        return answer()


@transaction.non_atomic_requests
def non_atomic(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        return answer()


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def content() -> Iterator[str]:
        Author.objects.create(name="streamed")
        yield answer().content.decode()

    return StreamingHttpResponse(content())


async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def content() -> AsyncIterator[str]:
        await Author.objects.acreate(name="streamed")
        yield (await aread(request)).content.decode()

    return StreamingHttpResponse(content())


def outside(request: HttpRequest) -> HttpResponse:
    """A write that Django does not see, by a procedure or another program."""
    mark_written()
    return HttpResponse()


def log_in(request: HttpRequest) -> HttpResponse:
    login(request, User.objects.get(), backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse()


def who(request: Any) -> HttpResponse:
    return HttpResponse(request.user.get_username())


def visits(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


async def slow_write(request: HttpRequest) -> HttpResponse:
    await sync_to_async(time.sleep)(0.001)
    return await awrite(request)


urlpatterns = [
    path("sync/read", read),
    path("sync/write", write),
    path("sync/fail", fail),
    path("sync/stream", stream),
    path("async/read", aread),
    path("async/write", awrite),
    path("async/fail", afail),
    path("async/stream", astream),
    path("async/slow_write", slow_write),
    path("validate", validate),
    path("rolled_back", rolled_back),
    path("slow_commit", slow_commit),
    path("explicit", explicit),
    path("non_atomic", non_atomic),
    path("outside", outside),
    path("log_in", log_in),
    path("who", who),
    path("visits", visits),
]
