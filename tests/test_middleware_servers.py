"""Crowds before real WSGI and ASGI servers, on SQLite files that never replicate: everybody sees their own writes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from tests.routing.conftest import both_routers, databases  # noqa: F401

VISITORS, TURNS = 50, 3
STALE = {"reader1", "reader2"}


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 100


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def wsgi() -> Iterator[str]:
    with make_server("127.0.0.1", 0, WSGIHandler(), server_class=Threads, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def asgi() -> Iterator[str]:
    uvicorn = pytest.importorskip("uvicorn")
    server = uvicorn.Server(
        uvicorn.Config(ASGIHandler(), host="127.0.0.1", port=0, lifespan="off", log_level="error", ws="none")
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def ask(opener: urllib.request.OpenerDirector, url: str, data: bytes | None = None) -> str:
    with opener.open(url, data, timeout=60) as response:
        return str(response.read().decode())


def visit(site: str, kind: str, number: int) -> None:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    for turn in range(TURNS):
        name = f"{number}.{turn}"
        assert name in ask(opener, f"{site}/{kind}/write?name={name}", data=b"").split()
        assert name in ask(opener, f"{site}/{kind}/read").split()
        assert ask(urllib.request.build_opener(), f"{site}/{kind}/read") in STALE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("serve", [wsgi, asgi])
def test_fifty_visitors_at_once(both_routers: None, serve: Callable[[], Any], kind: str) -> None:  # noqa: F811
    with (
        override_settings(
            ROOT_URLCONF="tests.pages", MIDDLEWARE=["django_aurora_routing.middleware.ReadYourWritesMiddleware"]
        ),
        serve() as site,
        ThreadPoolExecutor(VISITORS) as crowd,
    ):
        for done in [crowd.submit(visit, site, kind, number) for number in range(VISITORS)]:
            done.result()
