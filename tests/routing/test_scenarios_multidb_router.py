"""The scenarios that django-multidb-router's own tests have, in our words and on our code.

ReplicaRouter and PinningReplicaRouter are the ReadWriteRouter here, `use_primary_db` is `in_writer()`, pinning a
thread is `mark_written()` and `unpin()` in a scope, and the middleware is ReadYourWritesMiddleware. Theirs pins by the
HTTP method; ours pins by what was executed, and where that makes a difference the test shows which.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from django_aurora_routing.routing.blocks import in_writer
from django_aurora_routing.routing.scopes import current_scope, mark_written, scope, unpin
from django_aurora_routing.routing.stores import COOKIE

from .conftest import BOTH_ROUTERS, CLUSTERS
from .models import Author

pytestmark = pytest.mark.usefixtures("both_routers")

READERS = {"reader1", "reader2"}


def reads() -> str:
    return router.db_for_read(Author)


def is_pinned() -> bool:
    return reads() == "default"


# -- ReplicaRouter


def test_reads_go_to_a_replica() -> None:
    assert reads() in READERS


def test_writes_go_to_the_primary() -> None:
    assert router.db_for_write(Author) == "default"


def test_all_replicas_take_their_turn() -> None:
    """Theirs takes another replica for every query, so a page may go back in time; ours for every scope."""
    with override_settings(AURORA_ROUTING={**CLUSTERS, "READER_STRATEGY": "round_robin"}):
        served = []
        for _ in range(4):
            with scope():
                first = reads()
                assert {reads() for _ in range(5)} == {first}
                served.append(first)
    assert served in (["reader1", "reader2"] * 2, ["reader2", "reader1"] * 2)


def test_migrations_run_on_the_primary_alone() -> None:
    assert router.allow_migrate("default", "routing_tests")
    assert not any(router.allow_migrate(alias, "routing_tests") for alias in READERS)


def test_other_databases_may_be_migrated() -> None:
    """Theirs refuses every alias that is not 'default'; a database outside the cluster is not its business."""
    assert router.allow_migrate("external", "routing_tests")


# -- settings


def test_defaults_of_the_settings() -> None:
    from django_aurora_routing.conf import RoutingSettings

    assert (RoutingSettings().pin_seconds, RoutingSettings().pin_store) == (5.0, "cookie")


def test_a_mistyped_setting_is_refused() -> None:
    """Theirs would take the default without a word."""
    with override_settings(AURORA_ROUTING={**CLUSTERS, "PIN_SECOND": 60}), pytest.raises(ImproperlyConfigured):
        reads()


# -- pinning


def test_pinning_and_unpinning() -> None:
    with scope():
        assert not is_pinned()
        mark_written()
        assert is_pinned()
        unpin()
        assert not is_pinned()


def test_a_pin_ends_with_its_scope_and_not_only_with_the_next_request_on_the_thread() -> None:
    with scope():
        mark_written()
        assert is_pinned()
    assert not is_pinned()


# -- use_primary_db


def test_a_decorated_function_reads_from_the_primary() -> None:
    @in_writer()
    def check() -> None:
        assert is_pinned()

    assert not is_pinned()
    check()
    assert not is_pinned()


def test_a_decorated_function_leaves_a_pin_as_it_was() -> None:
    @in_writer()
    def check() -> None:
        assert is_pinned()

    with scope():
        mark_written()
        check()
        assert is_pinned()


def test_a_block_reads_from_the_primary() -> None:
    with in_writer():
        assert is_pinned()
    assert not is_pinned()


def test_a_block_leaves_a_pin_as_it_was() -> None:
    with scope():
        mark_written()
        with in_writer():
            assert is_pinned()
        assert is_pinned()


def test_a_block_ends_by_an_error() -> None:
    with pytest.raises(KeyError), in_writer():
        assert is_pinned()
        raise KeyError
    assert not is_pinned()


def test_threads_in_one_and_the_same_block_end_as_they_began() -> None:
    block = in_writer()
    both_inside, first_left = threading.Barrier(2), threading.Event()
    after: dict[str, bool] = {}

    def begun_pinned() -> None:
        with scope():
            mark_written()
            with block:
                both_inside.wait(10)
            after["pinned"] = is_pinned()
            first_left.set()

    def begun_unpinned() -> None:
        with scope():
            with block:
                both_inside.wait(10)
                first_left.wait(10)
                assert is_pinned()
            after["unpinned"] = is_pinned()

    threads = [threading.Thread(target=begun_pinned), threading.Thread(target=begun_unpinned)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert after == {"pinned": True, "unpinned": False}


def test_blocks_in_blocks() -> None:
    """After these theirs leaves the thread pinned for ever."""
    block = in_writer()
    with block, block:
        assert is_pinned()
    assert not is_pinned()


# -- the middleware


def view(request: HttpRequest) -> HttpResponse:
    if "write" in request.GET:
        Author.objects.create(name="written")
    if "mark" in request.GET:
        mark_written()
    return HttpResponse(f"{current_scope().is_request} {reads()}")


@in_writer()
def decorated(request: HttpRequest) -> HttpResponse:
    return HttpResponse(reads())


urlpatterns = [path("", view), path("decorated/", decorated)]


@pytest.fixture
def client() -> Iterator[Client]:
    with override_settings(
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["django_aurora_routing.middleware.ReadYourWritesMiddleware"],
        DATABASE_ROUTERS=BOTH_ROUTERS,
        ALLOWED_HOSTS=["*"],
    ):
        yield Client()


def served_from(response: Any) -> str:
    return response.content.decode().split()[-1]


def test_a_request_that_brings_the_cookie_reads_from_the_primary(client: Client) -> None:
    assert COOKIE in client.get("/?write=1").cookies
    with scope():
        assert served_from(client.get("/")) == "default"


def test_a_cookie_that_somebody_made_up_does_not(client: Client) -> None:
    """Theirs is unsigned: a stranger may put all of his load on the primary."""
    client.cookies[COOKIE] = "y"
    assert served_from(client.get("/")) in READERS


def test_a_request_without_it_does_not_even_after_a_pinned_one_on_the_thread(client: Client) -> None:
    client.get("/?write=1")
    assert served_from(Client().get("/")) in READERS


def test_a_post_that_writes_is_pinned_and_one_that_does_not_is_not(client: Client) -> None:
    """Theirs pins every POST, a search too; and no GET, also when it writes."""
    assert served_from(client.post("/?write=1")) == "default"
    assert served_from(Client().post("/")) in READERS
    assert served_from(Client().get("/?write=1")) == "default"


def test_the_cookie_is_set_by_who_has_written(client: Client) -> None:
    assert COOKIE not in client.get("/").cookies
    assert COOKIE not in Client().post("/").cookies
    cookie = Client().post("/?write=1").cookies[COOKIE]
    assert 0 < int(cookie["max-age"]) <= 60
    assert (cookie["samesite"], cookie["httponly"]) == ("Lax", True)
    assert bool(cookie["secure"]) == django_settings.SESSION_COOKIE_SECURE


def test_a_view_may_say_itself_that_it_has_written(client: Client) -> None:
    """Their attribute `_db_write` on the response."""
    assert COOKIE in client.get("/?mark=1").cookies


def test_a_decorated_view_reads_from_the_primary(client: Client) -> None:
    """Their `db_write` sets the cookie too, whether it writes or not; ours sets it when it writes."""
    response = client.get("/decorated/")
    assert served_from(response) == "default"
    assert COOKIE not in response.cookies
