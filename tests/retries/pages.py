"""Pages that meet a loss on their first turn, of either kind, for the tests of the middleware."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

from django_aurora_routing import safe_to_retry

losses: list[Any] = []
"""What happens on the next turns: an exception is raised, anything else is called."""
turns: list[str] = []


def meet(request: HttpRequest) -> None:
    turns.append(str(request.method))
    if losses:
        loss = losses.pop(0)
        if isinstance(loss, Exception):
            raise loss
        loss()


def page(request: Any) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    meet(request)
    return HttpResponse(f"turn {len(turns)}, visit {request.session['visits']}")


async def apage(request: HttpRequest) -> HttpResponse:
    meet(request)
    return HttpResponse(f"turn {len(turns)}")


def write(request: HttpRequest) -> HttpResponse:
    """In the transaction of ATOMIC_REQUESTS."""
    with connections["w"].cursor() as cursor:
        cursor.execute("INSERT INTO t (id) VALUES (%s)", [len(turns) + 1])
        meet(request)
        if "last" not in request.GET:
            cursor.execute("INSERT INTO t (id) VALUES (%s)", [100])
    return HttpResponse(f"turn {len(turns)}")


@safe_to_retry
def form(request: HttpRequest) -> HttpResponse:
    files = [file.read().decode() for file in request.FILES.values()]
    meet(request)
    return HttpResponse(" ".join([request.POST.get("name", ""), *files]))


@safe_to_retry
async def abody(request: HttpRequest) -> HttpResponse:
    text = request.body.decode()
    meet(request)
    return HttpResponse(text + request.read().decode())


@safe_to_retry
def raw(request: HttpRequest) -> HttpResponse:
    """Reads what cannot be read again."""
    text = request.read()
    assert not request.POST
    meet(request)
    return HttpResponse(text)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def content() -> Any:
        yield "begun, "
        meet(request)
        yield "done"

    return StreamingHttpResponse(content())


@method_decorator(safe_to_retry, name="dispatch")
class Marked(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        meet(request)
        return HttpResponse(f"turn {len(turns)}")


urlpatterns = [
    path("sync", page),
    path("async", apage),
    path("write", write),
    path("form", form),
    path("body", abody),
    path("raw", raw),
    path("stream", stream),
    path("marked", Marked.as_view()),
]
