"""STALE_WRITES and lock_for_write: an object that a reader gave does not undo what others have changed since."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from django.db import transaction
from django.db.models.signals import pre_save
from django.test import override_settings

from django_aurora_routing import StaleWrite, in_database, lock_for_write
from django_aurora_routing.routing import stale_writes
from django_aurora_routing.routing.blocks import in_writer
from django_aurora_routing.routing.scopes import scope

from .conftest import CLUSTERS
from .models import Author, Book

pytestmark = pytest.mark.usefixtures("both_routers")


def refused() -> override_settings:
    return override_settings(AURORA_ROUTING={**CLUSTERS, "STALE_WRITES": "error"})


@pytest.fixture
def title() -> Iterator[Book]:
    """A book that a reader still has with its old title, and the writer with a new author as well."""
    author = Author.objects.using("default").get()
    with override_settings(AURORA_ROUTING={**CLUSTERS, "PREVENT_WRITES_ON_READERS": False}):
        for alias in ("default", "reader1", "reader2"):
            Book(pk=1, title="old", author_id=author.pk).save(using=alias)
    Book.objects.using("default").update(title="new")
    with scope():
        yield Book.objects.get()


def on_writer() -> Book:
    return Book.objects.using("default").get()


def test_trap_35_a_stale_object_does_not_undo_newer_changes(title: Book) -> None:
    assert (title.title, title._state.db) in (("old", "reader1"), ("old", "reader2"))
    with refused(), pytest.raises(StaleWrite, match=r"routing_tests.Book 1 was read from reader 'reader\d'"):
        title.save()
    assert on_writer().title == "new"
    title.save()  # "allow": as Django does
    assert on_writer().title == "old"


def test_what_names_its_columns_is_not_stale(title: Book) -> None:
    with refused():
        title.save(update_fields=["author"])
        assert on_writer().title == "new"


def test_lock_for_write_reads_the_writers_own(title: Book) -> None:
    with refused(), transaction.atomic():
        locked = lock_for_write(title)
        assert (locked.title, locked._state.db) == ("new", "default")
        locked.save()
    assert title.title == "old"
    on_writer().delete()
    with transaction.atomic(), pytest.raises(Book.DoesNotExist):
        lock_for_write(title)


def test_objects_of_the_writer_new_ones_and_copies_are_not_stale(title: Book) -> None:
    with refused():
        with in_writer():
            Book.objects.get().save()
        Book.objects.create(title="another", author_id=title.author_id)
        title.pk = None
        title.save()
        with in_database("external"):
            author = Author.objects.get()
        author.save(using="default")  # nobody's reader


def test_a_warning_tells_where(title: Book, caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(AURORA_ROUTING={**CLUSTERS, "STALE_WRITES": "warn"}):
        title.save()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "may undo newer changes" in record.getMessage()
    assert record.stack_info is not None
    assert "test_a_warning_tells_where" in record.stack_info
    assert on_writer().title == "old"


def test_nothing_looks_at_saves_unless_wanted() -> None:
    def looks() -> bool:
        return any(lookup[0][0] is stale_writes._look for lookup in pre_save.receivers)

    assert not looks()
    with refused():
        assert looks()
    assert not looks()
