"""AppLabelRouter: apps and models on databases of their own, from settings and as in Django's documentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections, models, router
from django.test import override_settings

from django_aurora_routing import in_database
from django_aurora_routing.routers import AppLabelRouter, ReadWriteRouter
from django_aurora_routing.routing.clusters import Cluster
from django_aurora_routing.routing.scopes import mark_written, scope

from .conftest import Config, installed, sqlite
from .models import Author, Book

ROUTERS = [
    "django_aurora_routing.routers.DynamicDbRouter",
    "django_aurora_routing.routers.AppLabelRouter",
    "django_aurora_routing.routers.ReadWriteRouter",
]
AUTH = {"auth": "users", "contenttypes": "users"}


class Note(models.Model):
    """About an author who may be in another database."""

    author = models.ForeignKey(Author, models.CASCADE, db_constraint=False, related_name="notes")

    class Meta:
        app_label = "routing_notes"

    def __str__(self) -> str:
        return f"about {self.author_id}"


class Tag(models.Model):
    books = models.ManyToManyField(Book)

    class Meta:
        app_label = "routing_notes"

    def __str__(self) -> str:
        return "a tag"


class NamedAuthor(Author):
    class Meta:
        app_label = "routing_notes"
        proxy = True


@pytest.fixture
def aliases(tmp_path: Any, django_db_blocker: Any) -> Iterator[dict[str, Config]]:
    """default with two readers, users with one, and archive: nothing in them."""
    names = ("default", "reader1", "reader2", "users", "users_reader", "archive")
    with django_db_blocker.unblock(), installed({name: sqlite(tmp_path / name) for name in names}), scope():
        yield {}


def settings(labels: Any, **more: Any) -> Any:
    clusters = {
        "default": {"writer": "default", "readers": ["reader1", "reader2"]},
        "people": {"writer": "users", "readers": ["users_reader"]},
    }
    return override_settings(
        DATABASE_ROUTERS=ROUTERS, AURORA_ROUTING={"CLUSTERS": clusters, "APP_LABELS": labels, **more}
    )


@pytest.fixture
def authors_apart(aliases: Any) -> Iterator[None]:
    """Authors and books are with people, notes and all else at default."""
    with settings({"routing_tests": "people"}):
        yield


def at(alias: str, instance: Any) -> Any:
    instance._state.db = alias
    return instance


def read(model: Any, instance: Any = None) -> str:
    return str(router.db_for_read(model, instance=instance) if instance is not None else router.db_for_read(model))


def write(model: Any, instance: Any = None) -> str:
    return str(router.db_for_write(model, instance=instance) if instance is not None else router.db_for_write(model))


READERS = ("reader1", "reader2")


# -- queries


def test_an_alias_is_read_from_and_written_to(aliases: Any) -> None:
    with settings({"auth": "archive"}):
        assert (read(User), write(User)) == ("archive", "archive")
        assert write(Session) == "default"
        assert read(Session) == "default", "ALWAYS_WRITER"
        with scope():
            assert read(Author) in READERS


def test_a_cluster_is_written_at_its_writer_and_read_from_its_readers(authors_apart: None) -> None:
    assert (read(Author), write(Author)) == ("users_reader", "users")
    assert (read(Note), write(Note)) in [(reader, "default") for reader in READERS]


def test_it_is_read_like_by_a_router_of_that_cluster(authors_apart: None) -> None:
    mark_written("people")
    assert read(Author) == "users"
    assert read(Note) in READERS
    with in_database("archive"):
        assert read(Author) == "archive"
    with scope():
        assert read(Author) == "users_reader"
        with settings({"routing_tests": "people"}, ALWAYS_WRITER=["routing_tests"]):
            assert read(Author) == "users"


class AlwaysTheWriter(ReadWriteRouter):
    cluster = "people"

    def pick(self, cluster: Cluster, fit: tuple[str, ...]) -> str:
        return cluster.writer


def test_the_choice_of_a_router_for_that_cluster_is_kept(aliases: Any) -> None:
    chosen = override_settings(DATABASE_ROUTERS=[*ROUTERS, AlwaysTheWriter()])
    with settings({"auth": "people", "routing_tests": "default"}), chosen:
        assert (read(User), read(Author) in READERS) == ("users", True)


def test_a_model_goes_before_its_app(aliases: Any) -> None:
    with settings({"auth": "people", "auth.group": "archive", "sessions.Session": "archive"}):
        assert (write(User), write(Group), write(Session)) == ("users", "archive", "archive")
        assert write(User.groups.through) == "users", "with the model that has the field"
        assert write(ContentType) == "default"


def test_a_proxy_is_where_its_model_is(authors_apart: None) -> None:
    assert write(NamedAuthor) == "users"


def test_without_anything_to_say_it_says_nothing(aliases: Any) -> None:
    with override_settings(DATABASE_ROUTERS=ROUTERS[1:2], AURORA_ROUTING={}):
        assert (read(User), write(User)) == ("default", "default")
        assert router.allow_migrate("archive", "auth") is True
        assert router.allow_relation(at("default", User()), at("archive", Group())) is False


# -- on behalf of an instance


def test_trap_22_an_instance_put_elsewhere_is_followed_there(authors_apart: None) -> None:
    there = at("archive", Author())
    assert (read(Book, there), write(Book, there)) == ("archive", "archive")
    assert (read(Note, there), write(Note, there)) == ("archive", "archive")
    assert router.allow_relation(there, at("archive", Book())) is True


def test_trap_32_an_instance_from_the_writer_is_followed_to_the_writer(authors_apart: None) -> None:
    assert read(Book, at("users", Author())) == "users"
    assert read(Book, at("users_reader", Author())) == "users_reader"
    assert write(Book, at("users_reader", Author())) == "users"


def test_an_instance_does_not_take_models_of_other_places_along(authors_apart: None) -> None:
    author, note = at("users", Author()), at("reader1", Note())
    assert (read(Note, author) in READERS, write(Note, author)) == (True, "default")
    assert (read(Author, note), write(Author, note)) == ("users_reader", "users")
    assert write(Session, author) == "default"


def test_naming_the_default_database_changes_nothing(aliases: Any) -> None:
    with settings({"routing_tests": "default", "auth": "people"}):
        author = at("default", Author())
        assert read(Note, author) == "default", "the same database: the instance tells something"
        assert read(Book, author) == "default"
        assert read(Author, at("default", Note())) == "default"
        assert router.allow_migrate("default", "sessions") is True


# -- relations


def test_relations_inside_a_place(authors_apart: None) -> None:
    assert router.allow_relation(at("users", Author()), at("users_reader", Book())) is True
    assert router.allow_relation(at("users", Author()), Book()) is True


def test_trap_21_no_relations_between_databases(authors_apart: None) -> None:
    assert router.allow_relation(at("users", Author()), at("default", Tag())) is False
    assert router.allow_relation(at("users", Author()), at("archive", Book())) is False


def test_but_where_a_foreign_key_has_no_constraint(authors_apart: None) -> None:
    note = Note(author=at("users", Author(pk=1)))
    assert note._state.db == "default"
    with pytest.raises(ValueError, match="prevents this relation"):
        Book(author=at("archive", Author(pk=1))).author = at("users", Author(pk=2))


def test_it_works_with_rows(authors_apart: None) -> None:
    for alias, model in (("users", Author), ("users", Book), ("default", Note)):
        with connections[alias].schema_editor() as editor:
            editor.create_model(model)
    ada = Author.objects.create(name="Ada")
    ada.books.create(title="Notes")
    note = Note.objects.create(author=ada)
    mark_written()
    assert [book.title for book in ada.books.all()] == ["Notes"]
    assert note.author.name == "Ada"
    assert list(ada.notes.all()) == [note]
    assert (ada._state.db, note._state.db) == ("users", "default")


# -- migrations

MIGRATED = [
    # labels, database, app, model, allowed
    (AUTH, "users", "auth", "user", True),
    (AUTH, "users", "auth", None, True),
    (AUTH, "default", "auth", "user", False),
    (AUTH, "default", "contenttypes", None, False),
    (AUTH, "archive", "auth", "group", False),
    (AUTH, "users", "sessions", "session", False),
    (AUTH, "users", "sessions", None, False),
    (AUTH, "default", "sessions", "session", True),
    (AUTH, "archive", "sessions", "session", True),
    ({"auth": "people"}, "users", "auth", "user", True),
    ({"auth": "people"}, "users_reader", "auth", "user", False),
    ({"auth.User": "users"}, "users", "auth", "user", True),
    ({"auth.User": "users"}, "users", "auth", "group", False),
    ({"auth.User": "users"}, "default", "auth", "user", False),
    ({"auth.User": "users"}, "default", "auth", "group", True),
    ({"auth.User": "users"}, "default", "auth", None, True),
    ({"auth.User": "users"}, "users", "auth", None, True),
    ({"auth": "users", "auth.Group": "archive"}, "archive", "auth", "group", True),
    ({"auth": "users", "auth.Group": "archive"}, "archive", "auth", None, True),
    ({"auth": "users", "auth.Group": "archive"}, "users", "auth", "group", False),
    ({"auth": "users", "auth.Group": "archive"}, "default", "auth", None, False),
    ({"auth": "default"}, "default", "sessions", "session", True),
    (AUTH, "users", "aurora_routing", "committoken", True),  # where there are transactions, there are tokens
    (AUTH, "default", "aurora_routing", "committoken", True),
    ({"auth": "people"}, "users_reader", "aurora_routing", "committoken", False),
    ({"auth": "users", "aurora_routing": "archive"}, "users", "aurora_routing", "committoken", False),
]


@pytest.mark.parametrize(("labels", "db", "app_label", "model_name", "allowed"), MIGRATED)
def test_migrations(aliases: Any, labels: Any, db: str, app_label: str, model_name: str | None, allowed: bool) -> None:
    with settings(labels):
        assert router.allow_migrate(db, app_label, model_name=model_name) is allowed


def test_each_database_gets_its_own_tables_and_no_other(aliases: Any) -> None:
    with settings({**AUTH, "sessions": "archive"}):
        call_command("migrate_all", skip_checks=True, verbosity=0)
        found = {
            alias: {name.split("_")[0] for name in connections[alias].introspection.table_names()} - {"django"}
            for alias in ("users", "default", "archive")
        }
        in_archive = connections["archive"].introspection.table_names()
        assert in_archive == ["aurora_routing_committoken", "django_migrations", "django_session"]
        assert found["users"] == {"auth", "aurora"}
        assert "shop" in found["default"]
        assert "auth" not in found["default"]
        assert ContentType.objects.using("users").exists()


# -- as a subclass


class AuthRouter(AppLabelRouter):
    """As in Django's documentation."""

    route_app_labels = {"auth", "contenttypes"}
    db = "users"


class Mapped(AppLabelRouter):
    route_app_labels = {"auth": "users", "sessions.Session": "archive"}


def test_as_in_djangos_documentation(aliases: Any) -> None:
    with settings({}), override_settings(DATABASE_ROUTERS=[ROUTERS[0], AuthRouter(), ROUTERS[2]]):
        assert (read(User), write(ContentType), write(Session)) == ("users", "users", "default")
        assert router.allow_migrate("users", "auth") is True
        assert router.allow_migrate("default", "auth") is False
        assert router.allow_migrate("users", "sessions") is True, "as there, others are not kept out"


def test_a_subclass_with_a_mapping(aliases: Any) -> None:
    with settings({}), override_settings(DATABASE_ROUTERS=[Mapped()]):
        assert (write(User), write(Session), write(ContentType)) == ("users", "archive", "default")


@pytest.mark.parametrize("wrong", [{"route_app_labels": {"auth"}}, {"route_app_labels": "auth", "db": "users"}])
def test_a_subclass_that_says_half_of_it(aliases: Any, wrong: dict[str, Any]) -> None:
    half = type("Half", (AppLabelRouter,), wrong)
    with pytest.raises(ImproperlyConfigured, match="route_app_labels of an AppLabelRouter"):
        half().db_for_read(User)


# -- refused


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("user", "'user' is neither a cluster nor in DATABASES. Did you mean 'users'?"),
        ("users_reader", "'users_reader' is a reader, which nothing can be written to; its cluster is 'people'."),
    ],
)
def test_trap_20_a_database_that_cannot_be_meant(aliases: Any, target: str, said: str) -> None:
    with settings({"auth": target}), pytest.raises(ImproperlyConfigured) as raised:
        read(User)
    assert said in str(raised.value)
