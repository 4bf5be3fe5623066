"""Each page of the admin, on one database: what the pages show and change, and whom they asked."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.test import Client

from .conftest import Asked
from .models import Author, Book, Review, Tag
from .sites import SITES

pytestmark = [
    pytest.mark.django_db(databases=["default", "external"]),
    pytest.mark.usefixtures("librarian"),
]
every_site = pytest.mark.parametrize("site", [site.name for site in SITES])


def here(model: Any) -> Any:
    return model.objects.using("external")


def there(model: Any) -> Any:
    return model.objects.using("default")


def unchanged_there() -> None:
    assert list(there(Author).order_by("pk").values_list("name", flat=True)) == [f"wrong author {n}" for n in (1, 2, 3)]
    assert list(there(Book).order_by("pk").values_list("title", flat=True)) == [f"wrong book {n}" for n in (1, 2, 3)]
    assert there(Review).count() == 3
    assert there(Tag).count() == 2
    assert not here(LogEntry).exists()


def get(client: Client, url: str, status: int = 200) -> str:
    with Asked() as asked:
        answer = client.get(url)
        text = b"".join(answer).decode()
    assert answer.status_code == status, text
    asked.check()
    assert "wrong" not in text
    return text


def post(client: Client, url: str, form: dict[str, Any], status: int = 302) -> str:
    with Asked() as asked:
        answer = client.post(url, form)
        text = b"".join(answer).decode()
    assert answer.status_code == status, text
    asked.check()
    assert "wrong" not in text
    unchanged_there()
    return text


def formset(prefix: str, *rows: dict[str, Any], initial: int = 0) -> dict[str, Any]:
    form: dict[str, Any] = {
        f"{prefix}-TOTAL_FORMS": len(rows),
        f"{prefix}-INITIAL_FORMS": initial,
        f"{prefix}-MIN_NUM_FORMS": 0,
        f"{prefix}-MAX_NUM_FORMS": 1000,
    }
    for number, row in enumerate(rows):
        form.update({f"{prefix}-{number}-{name}": value for name, value in row.items()})
    return form


def book_form(*reviews: dict[str, Any], initial: int = 0, **fields: Any) -> dict[str, Any]:
    return {"title": "new", "author": 2, "tags": [1, 2], **fields, **formset("reviews", *reviews, initial=initial)}


def last_log() -> LogEntry:
    return there(LogEntry).latest("pk")


@every_site
class TestPages:
    def test_changelist(self, client: Client, site: str) -> None:
        page = get(client, f"/{site}/library/book/?q=right&author__id__exact=1")
        assert "right book 1" in page
        assert "right author 3" in page  # a choice of the filter, and of each row's editable field

    def test_list_editable(self, client: Client, site: str) -> None:
        rows = [{"id": pk, "author": 2} for pk in (3, 2, 1)]
        with Asked() as asked:
            post(client, f"/{site}/library/book/", {"_save": "Save", **formset("form", *rows, initial=3)})
        assert set(here(Book).values_list("author", flat=True)) == {2}
        assert any(sql.startswith("SAVEPOINT") for sql in asked["external"])
        assert there(LogEntry).count() == 2

    def test_add(self, client: Client, site: str) -> None:
        page = get(client, f"/{site}/library/book/add/?author=2")
        assert "right author 2" in page
        assert "right tag 2" in page
        with Asked() as asked:
            post(client, f"/{site}/library/book/add/", book_form({"text": "good"}))
        book = here(Book).get(title="new")
        assert (book.author_id, book.tags.count(), book.reviews.get().text) == (2, 2, "good")
        assert any(sql.startswith("SAVEPOINT") for sql in asked["external"])
        assert (last_log().object_repr, last_log().is_addition()) == ("new", True)

    def test_change(self, client: Client, site: str) -> None:
        page = get(client, f"/{site}/library/book/1/change/")
        assert "right book 1" in page
        assert "right review 1" in page
        form = book_form(
            {"id": 1, "book": 1, "text": "changed"}, {"book": 1, "text": "added"}, initial=1, title="renamed", tags=[2]
        )
        post(client, f"/{site}/library/book/1/change/", form)
        book = here(Book).get(pk=1)
        assert (book.title, book.author_id, list(book.tags.values_list("pk", flat=True))) == ("renamed", 2, [2])
        assert list(book.reviews.order_by("pk").values_list("text", flat=True)) == ["changed", "added"]
        assert last_log().is_change()

    def test_inlines_are_deleted(self, client: Client, site: str) -> None:
        get(client, f"/{site}/library/author/1/change/")
        row = {"id": 1, "author": 1, "title": "right book 1", "DELETE": "on"}
        post(client, f"/{site}/library/author/1/change/", {"name": "same", **formset("books", row, initial=1)})
        assert not here(Book).filter(pk=1).exists()
        assert not here(Review).filter(pk=1).exists()

    def test_an_error_in_a_form_is_shown(self, client: Client, site: str) -> None:
        page = post(client, f"/{site}/library/book/1/change/", book_form(title="", author=99), status=200)
        assert "errorlist" in page
        assert "right tag" in page

    def test_save_as_new(self, client: Client, site: str) -> None:
        form = book_form({"id": 1, "book": 1, "text": "copied"}, initial=1, title="copy", _saveasnew="1")
        post(client, f"/{site}/library/book/1/change/", form)
        assert here(Book).get(title="copy").reviews.get().text == "copied"
        assert here(Book).get(pk=1).title == "right book 1"

    def test_delete(self, client: Client, site: str) -> None:
        page = get(client, f"/{site}/library/author/1/delete/")
        for child in ("right book 1", "right review 1", "Book-tag relationship"):
            assert child in page
        with Asked() as asked:
            post(client, f"/{site}/library/author/1/delete/", {"post": "yes"})
        assert any(sql.startswith("SAVEPOINT") for sql in asked["external"])
        for model in (Author, Book, Review):
            assert not here(model).filter(pk=1).exists()
        assert (last_log().object_repr, last_log().is_deletion()) == ("right author 1", True)

    def test_delete_selected(self, client: Client, site: str) -> None:
        form = {"action": "delete_selected", "_selected_action": [1, 2]}
        page = post(client, f"/{site}/library/book/", form, status=200)
        for child in ("right book 1", "right review 2"):
            assert child in page
        post(client, f"/{site}/library/book/", {**form, "post": "yes"})
        assert list(here(Book).values_list("pk", flat=True)) == [3]
        assert there(LogEntry).count() == 2

    def test_an_action_that_streams(self, client: Client, site: str) -> None:
        page = post(client, f"/{site}/library/book/", {"action": "export", "_selected_action": [1]}, status=200)
        assert page.splitlines() == [f"right book {n} by right author {n}" for n in (1, 2, 3)]

    def test_history(self, client: Client, site: str) -> None:
        post(client, f"/{site}/library/tag/1/change/", {"name": "renamed"})
        assert "Changed Name." in get(client, f"/{site}/library/tag/1/history/")

    def test_autocomplete(self, client: Client, site: str) -> None:
        add = get(client, f"/{site}/library/book/add/")
        url = f"/{site}/library/book/autocomplete/"
        assert f'data-ajax--url="{url}"' in add
        query = "?term=author&app_label=library&model_name=book&field_name=author"
        assert get(client, url + query).count("right author") == 3
        if site == "external":  # what an inline that knows nothing of databases asks
            assert get(client, f"/{site}/autocomplete/{query}").count("right author") == 3

    def test_pop_ups(self, client: Client, site: str) -> None:
        assert f"/{site}/library/author/add/?_to_field=id&amp;_popup=1" in get(client, f"/{site}/library/book/add/")
        get(client, f"/{site}/library/author/add/?_to_field=id&_popup=1")
        form = {"name": "popped up", "_popup": 1, "_to_field": "id", **formset("books")}
        page = post(client, f"/{site}/library/author/add/?_to_field=id&_popup=1", form, status=200)
        assert "popped up" in page
        assert here(Author).filter(name="popped up").exists()

    @pytest.mark.parametrize("page", ["book/99/change/", "book/99/delete/", "book/99/history/"])
    def test_what_is_not_there(self, client: Client, site: str, page: str) -> None:
        there(Book).create(pk=99, title="wrong book 99", author_id=1)
        get(client, f"/{site}/library/{page}", status=302)

    def test_the_link_to_the_site(self, client: Client, site: str) -> None:
        assert 'href="/authors/2/"' in get(client, f"/{site}/library/author/2/change/")

    def test_unique_fields_and_constraints(self, client: Client, site: str) -> None:
        """A duplicate there is none here."""
        page = post(client, f"/{site}/library/author/add/", {"name": "right author 1", **formset("books")}, status=200)
        assert "Author with this Name already exists." in page
        page = post(client, f"/{site}/library/book/add/", book_form(title="right book 2", author=2), status=200)
        assert "already exists" in page or "is violated" in page
        answer = client.post(f"/{site}/library/author/add/", {"name": "wrong author 1", **formset("books")})
        assert answer.status_code == 302
        assert here(Author).filter(name="wrong author 1").exists()

    def test_the_pages_of_the_site_itself(self, client: Client, site: str) -> None:
        with Asked() as asked:
            assert client.get(f"/{site}/").status_code == 200
            assert client.get(f"/{site}/library/").status_code == 200
            assert client.get(f"/{site}/login/", follow=True).status_code == 200
        assert asked["external"] == []

    def test_nobody_without_permission(self, client: Client, site: str, librarian: User) -> None:
        # There is somebody of the same key in the other database, who may do everything.
        impostor = User.objects.db_manager("external").create_superuser("impostor", pk=librarian.pk)
        impostor.user_permissions.set(Permission.objects.using("external").all())
        librarian.user_permissions.clear()
        client.force_login(User.objects.using("default").get(pk=librarian.pk))
        assert client.get(f"/{site}/library/book/").status_code == 403
        assert client.post(f"/{site}/library/author/1/delete/", {"post": "yes"}).status_code == 403
        assert here(Author).filter(pk=1).exists()


def test_trap_42_the_recipe_of_djangos_docs_checks_and_lists_the_wrong_database(client: Client) -> None:
    # Unchanged: the form finds the duplicate of the other database, or none and then fails; children go unseen.
    client.raise_request_exception = False
    with transaction.atomic(using="external"):
        assert client.post("/docs/library/author/add/", {"name": "right author 1"}).status_code == 500
        transaction.set_rollback(True, using="external")  # its transaction was not on 'external'
    there(Book).all().delete()
    assert "right book 1" not in client.get("/docs/library/author/1/delete/").content.decode()
    # On ours, with the same overrides.
    answer = client.post("/recipe/library/author/add/", {"name": "right author 1", **formset("books")})
    assert "Author with this Name already exists." in answer.content.decode()
    assert "right book 1" in client.get("/recipe/library/author/1/delete/").content.decode()


@pytest.mark.django_db(databases=["default", "external"], transaction=True)
@every_site
def test_trap_42_a_failed_change_leaves_neither_rows_nor_a_log(
    client: Client, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("refused")

    client.raise_request_exception = False
    with monkeypatch.context() as patched:
        patched.setattr(Review, "save", refuse)
        assert client.post(f"/{site}/library/book/add/", book_form({"text": "good"})).status_code == 500
    assert not here(Book).filter(title="new").exists()
    with monkeypatch.context() as patched:
        patched.setattr(Author, "delete", refuse)  # Django writes its log before it deletes
        assert client.post(f"/{site}/library/author/1/delete/", {"post": "yes"}).status_code == 500
    assert not there(LogEntry).exists()
    assert not connections["external"].in_atomic_block


def test_views_that_a_class_adds(client: Client) -> None:
    assert get(client, "/ordinary/library/book/titles/").splitlines() == [f"right book {n}" for n in (1, 2, 3)]


def test_content_types_stay(client: Client) -> None:
    ContentType.objects.clear_cache()
    get(client, "/ordinary/library/tag/1/history/")
