"""explain_route and the debug log: the same alias that a query gets, and the reason for it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import router, transaction
from django.test import override_settings

from django_aurora_routing import explain_route
from django_aurora_routing.routers import ReadWriteRouter
from django_aurora_routing.routing import dynamic, in_database, readers
from django_aurora_routing.routing.blocks import in_reader, in_writer, prevent_writes
from django_aurora_routing.routing.errors import DatabaseNotActive, NoReaderAvailable
from django_aurora_routing.routing.scopes import current_scope, mark_written, scope

from .conftest import BOTH_ROUTERS, CLUSTERS, names
from .models import Author, Book

pytestmark = pytest.mark.usefixtures("both_routers")

DECISIONS = "django_aurora_routing.routing.decision"


def why(**how: Any) -> str:
    """The reason, and that the alias is the one which Django gets."""
    decision = explain_route(Author, **how)
    ask = router.db_for_write if how.get("write") else router.db_for_read
    assert decision.alias == ask(Author, **{"instance": how["instance"]} if "instance" in how else {})
    return decision.reason


def test_each_reason_is_told() -> None:
    assert why() == "the reader of this scope"
    assert why(write=True) == "the writer of cluster 'default'"
    assert why(instance=Author.objects.using("default").get()) == "its instance came from the writer"
    with transaction.atomic():
        assert why() == "a transaction is open on the writer"
    with in_writer():
        assert why() == "in_writer() is in force"
    with in_reader():
        assert why() == "in_reader() is in force"
    mark_written()
    assert why() == "this scope has written"
    with override_settings(AURORA_ROUTING={**CLUSTERS, "ALWAYS_WRITER": ["routing_tests.Author"]}):
        assert why() == "ALWAYS_WRITER names it"
    for reader in ("reader1", "reader2"):
        readers.set_aside(reader)
    try:
        with scope():
            assert why() == "no reader is fit"
    finally:
        readers.forget_failures()


def test_blocks_are_named_innermost_first() -> None:
    with in_database("external"), prevent_writes():
        decision = explain_route(Author)
        assert decision.alias == "external"
        assert decision.router == "DynamicDbRouter"
        assert decision.reason == "in_database('external', read=True, write=False) is in force"
        assert decision.blocks == ("prevent_writes()", "in_database('external', read=True, write=False)")
        assert str(decision) == (
            "'external': in_database('external', read=True, write=False) is in force (DynamicDbRouter); "
            "inside prevent_writes(), in_database('external', read=True, write=False)"
        )
        assert explain_route(Author, write=True).alias == "default"
    with in_database("external", models=[Book]):
        assert explain_route(Author).router == "ReadWriteRouter"
        assert explain_route(Book).alias == "external"


def test_an_instance_from_a_block_that_does_not_write() -> None:
    with in_database("external"):
        author = Author.objects.get()
        assert why(instance=author, write=True) == (
            "the block for 'external', its instance's database, does not write there"
        )


def test_the_explained_reader_is_the_one_that_the_query_gets() -> None:
    for _ in range(30):
        with scope() as entered:
            assert not entered.readers
            alias = explain_route(Author).alias
            assert names() == [alias]
            assert {explain_route(Author).alias for _ in range(5)} == {alias}


def test_it_changes_nothing_but_the_choice_of_the_reader() -> None:
    explain_route(Author, write=True)
    assert not current_scope().is_pinned("default")
    assert not current_scope().readers


def test_it_raises_what_the_query_would_raise(make_config: Any) -> None:
    with in_database(make_config()):
        author = Author.objects.get()
    with pytest.raises(DatabaseNotActive):
        explain_route(Author, instance=author)
    assert not dynamic._databases
    never = {**CLUSTERS, "ON_NO_READER": "error", "MAX_LAG": 1}
    with override_settings(AURORA_ROUTING=never), pytest.raises(NoReaderAvailable):
        explain_route(Author)


class Foreign:
    """A router of somebody else's, for reads of one model."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "external" if model is Book else None


class Overriding(ReadWriteRouter):
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "default" if model is Author else super().db_for_read(model, **hints)


def test_routers_of_others_are_named() -> None:
    with override_settings(DATABASE_ROUTERS=[Foreign(), *BOTH_ROUTERS]):
        assert explain_route(Book)[:3] == ("external", "this router says so and gives no reason", "Foreign")
        assert explain_route(Book, write=True).router == "ReadWriteRouter"
        assert explain_route(Author).router == "ReadWriteRouter"


def test_a_subclass_with_an_answer_of_its_own_is_asked_for_it() -> None:
    with override_settings(DATABASE_ROUTERS=[Overriding()]):
        assert explain_route(Author)[:2] == ("default", "this router says so and gives no reason")
        assert explain_route(Author, write=True).reason == "the writer of cluster 'default'"


def test_without_an_opinion() -> None:
    with override_settings(DATABASE_ROUTERS=BOTH_ROUTERS[:1]):
        assert explain_route(Author)[:3] == ("default", "no router has an opinion", "")
        author = Author.objects.using("external").get()
        assert explain_route(Author, instance=author).alias == "external"


def test_an_app_of_another_place() -> None:
    routers = [BOTH_ROUTERS[0], "django_aurora_routing.routers.AppLabelRouter", BOTH_ROUTERS[1]]
    settings = {**CLUSTERS, "APP_LABELS": {"routing_tests": "external"}}
    with override_settings(DATABASE_ROUTERS=routers, AURORA_ROUTING=settings):
        decision = explain_route(Author)
        assert decision[:3] == ("external", "routing_tests.Author belongs to 'external'", "AppLabelRouter")


# -- the debug log


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.name == DECISIONS]
    caplog.clear()
    return found


def test_the_debug_log_has_a_line_for_each_decision(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, DECISIONS), scope():
        reader = names()[0]
        assert lines(caplog) == [f"A read of routing_tests.Author goes to {reader!r}: the reader of this scope"]
        names()
        assert len(lines(caplog)) == 1
        with in_database("external", write=True, models=[Author]):
            author = Author.objects.get()
            block = "in_database('external', read=True, write=True)"
            assert lines(caplog) == [f"A read of routing_tests.Author goes to 'external': {block} is in force"]
            author.save()
            assert lines(caplog) == [f"A write of routing_tests.Author goes to 'external': {block} is in force"]
        Author.objects.using("default").get().save()
        assert lines(caplog) == ["A write of routing_tests.Author goes to 'default': the writer of cluster 'default'"]


def test_nothing_is_logged_and_much_is_remembered_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    with scope() as entered:
        names()
        assert entered.memo
    assert lines(caplog) == []
