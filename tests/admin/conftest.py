"""The library in two databases, whose rows have the same keys and other contents, and what each was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from .models import Author, Book, Review, Tag


class Asked:
    """The statements that each alias was sent inside the block."""

    def __enter__(self) -> Asked:
        self._stack = ExitStack()
        self._captured = {
            alias: self._stack.enter_context(CaptureQueriesContext(connections[alias]))
            for alias in ("default", "external")
        }
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def __getitem__(self, alias: str) -> list[str]:
        return [query["sql"] for query in self._captured[alias].captured_queries]

    def about(self, alias: str, *prefixes: str) -> list[str]:
        """Those about tables whose names begin so."""
        return [sql for sql in self[alias] if any(f'"{prefix}' in sql for prefix in prefixes)]

    def check(self) -> None:
        """The library was asked on 'external' alone, and what is the admin's own on 'default' alone.

        But for users, as a review's critic must be in its own database, and for content types, which Django looks up
        beside the object that has generic relations.
        """
        assert self.about("default", "library_") == []
        assert self.about("external", "auth_user_", "auth_group", "auth_permission", "django_admin", "django_ses") == []
        assert self.about("external", "library_")


@pytest.fixture(autouse=True)
def library(db: None) -> Iterator[None]:
    """Keys 1 to 3 in both databases; the rows of 'default' all say 'wrong'."""
    for alias, adjective in (("default", "wrong"), ("external", "right")):
        User.objects.db_manager(alias).create_user(f"{adjective} critic", pk=1)
        tags = [Tag.objects.using(alias).create(pk=pk, name=f"{adjective} tag {pk}") for pk in (1, 2)]
        for pk in (1, 2, 3):
            author = Author.objects.using(alias).create(pk=pk, name=f"{adjective} author {pk}")
            book = Book.objects.using(alias).create(pk=pk, title=f"{adjective} book {pk}", author=author)
            book.tags.add(tags[0])
            Review.objects.using(alias).create(pk=pk, book=book, text=f"{adjective} review {pk}")
    with override_settings(
        ROOT_URLCONF="tests.admin.sites",
        SESSION_ENGINE="django.contrib.sessions.backends.db",
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
    ):
        yield


@pytest.fixture
def librarian(client: Client) -> User:
    """Logged in on `client`. Not a superuser, so that permissions are asked for."""
    user = User.objects.db_manager("default").create_user("librarian", is_staff=True)
    user.user_permissions.set(Permission.objects.using("default").filter(content_type__app_label="library"))
    client.force_login(user)
    return user
