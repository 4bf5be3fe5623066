"""What a site and a class can be told about databases, and what is said when it cannot work."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.test.utils import isolate_apps

from django_aurora_routing.admin import MultiDBAdminSite, MultiDBModelAdmin
from django_aurora_routing.admin.reach import reach_of
from django_aurora_routing.routing.scopes import mark_written, scope

from .conftest import Asked
from .models import Author, Book, Remark, Tag
from .sites import SITES, BookInline, PlainAuthorAdmin, reading, users
from .test_pages import book_form, formset, get, here, there

pytestmark = pytest.mark.django_db(databases=["default", "external"])


def errors(admin_class: type[admin.ModelAdmin[Any]], model: Any = Author, site: Any = None) -> dict[str, str]:
    found = admin_class(model, site or admin.AdminSite()).check()
    return {str(error.id).removeprefix("aurora_routing."): error.msg for error in found}


class OnExternal(MultiDBModelAdmin):
    using = "external"


def test_no_site_of_these_tests_has_an_error() -> None:
    for site in SITES:
        assert site.check(None) == []


def test_a_class_without_a_database() -> None:
    assert "needs the alias of a database" in errors(MultiDBModelAdmin)["E101"]
    assert errors(MultiDBModelAdmin, site=MultiDBAdminSite("external")) == {}


@pytest.mark.parametrize("attribute", ["using", "read_using"])
def test_an_alias_that_does_not_exist(attribute: str) -> None:
    found = errors(type("Wrong", (OnExternal,), {attribute: "externel"}))
    assert "Did you mean 'external'?" in found["E102"]


@pytest.mark.usefixtures("librarian")
def test_without_the_router(client: Client) -> None:
    with override_settings(DATABASE_ROUTERS=[]):
        assert "DynamicDbRouter' first in DATABASE_ROUTERS" in errors(OnExternal)["E102"]
        with pytest.raises(ImproperlyConfigured, match="DynamicDbRouter' first in DATABASE_ROUTERS"):
            client.get("/ordinary/library/author/")


def test_an_inline_for_another_database() -> None:
    inline = type("Astray", (BookInline,), {"using": "default"})
    found = errors(type("Parent", (OnExternal,), {"inlines": [inline]}))
    assert found["E103"] == "Astray is for 'default', and the page that it is on for 'external'."


def test_names_of_sites() -> None:
    assert MultiDBAdminSite("external").name == "external"
    assert MultiDBAdminSite("external", "archive").name == "archive"
    assert MultiDBAdminSite().name == "admin"
    assert type("Archive", (MultiDBAdminSite,), {"using": "external"})().name == "external"


def test_a_class_keeps_its_own_database_on_a_site_for_another() -> None:
    site = MultiDBAdminSite("default", read_using="external")
    site.register(Author, OnExternal)
    site.register(Book, PlainAuthorAdmin)
    site.register(Tag, using="external")
    registered = {model: (known.pages.using, known.pages.read_using) for model, known in site._registry.items()}
    assert registered == {Author: ("external", None), Book: ("default", "external"), Tag: ("external", None)}
    assert isinstance(site._registry[Book], PlainAuthorAdmin)


def test_a_queryset_outside_of_any_page() -> None:
    request = RequestFactory().get("/")
    assert OnExternal(Author, admin.AdminSite()).get_queryset(request).db == "external"


def test_a_queryset_in_the_page_of_another_class(rf: RequestFactory) -> None:
    """It follows the page if the page is about the model, too."""
    request = rf.get("/")
    others = MultiDBAdminSite("default")
    others.register([Author, User])
    aliases = {}

    def view(request: HttpRequest) -> HttpResponse:
        aliases.update({model: known.get_queryset(request).db for model, known in others._registry.items()})
        return HttpResponse()

    OnExternal(Tag, admin.AdminSite()).pages.answer(view, request)
    assert aliases == {Author: "external", User: "external"}  # by a book's author, and the critic of its reviews
    OnExternal(Session, admin.AdminSite()).pages.answer(view, request)
    assert aliases == {Author: "default", User: "default"}


@pytest.mark.usefixtures("librarian")
def test_pages_that_only_show_something_read_elsewhere(client: Client) -> None:
    assert "right book 1" in get(client, "/reading/library/book/")
    assert "right book 1" in get(client, "/reading/library/book/1/change/")
    assert "right author" in get(
        client, "/reading/library/book/autocomplete/?app_label=library&model_name=book&field_name=author"
    )
    with Asked() as asked:
        answer = client.post("/reading/library/book/1/change/", book_form(title="renamed"))
    assert answer.status_code == 302
    assert asked["external"] == []
    assert there(Book).get(pk=1).title == "renamed"


def test_who_has_just_written_reads_from_the_writer(rf: RequestFactory) -> None:
    pages = reading._registry[Book].pages
    with override_settings(AURORA_ROUTING={"CLUSTERS": {"default": {"writer": "default", "readers": ["external"]}}}):
        with scope():
            assert pages.reads_from(rf.get("/")) == "external"
            mark_written()
            assert pages.reads_from(rf.get("/")) == "default"
        assert pages.reads_from(rf.get("/")) == "external"


@pytest.mark.usefixtures("librarian")
def test_pop_ups_of_another_database_are_not_offered(client: Client) -> None:
    page = get(client, "/particular/library/book/add/")
    assert 'id="add_id_tags"' in page
    assert 'id="id_author"' in page
    assert 'id="add_id_author"' not in page


@pytest.mark.usefixtures("librarian")
def test_generic_inlines_have_the_content_types_of_their_database(client: Client) -> None:
    types = ContentType.objects.db_manager("external")
    types.get(app_label="library", model="tag").delete()
    own = types.create(app_label="library", model="tag")
    ContentType.objects.clear_cache()
    rows = formset("library-remark-content_type-object_id", {"text": "remarkable"})
    assert client.post("/particular/library/tag/1/change/", {"name": "same", **rows}).status_code == 302
    assert here(Remark).get().content_type_id == own.pk
    assert not there(Remark).exists()
    assert "remarkable" in client.get("/particular/library/tag/1/change/").content.decode()
    assert "remarkable" in client.get("/particular/library/tag/1/history/").content.decode()


def test_a_critic_is_looked_for_beside_the_review(client: Client, librarian: User) -> None:
    page = get(client, "/ordinary/library/book/add/")
    assert "right critic" in page
    assert "librarian" not in page.split("id_reviews-0-critic")[1].split("</select>")[0]


def test_users_of_another_database_have_no_say_in_this_one(client: Client, librarian: User) -> None:
    impostor = User.objects.db_manager("external").create_superuser("impostor", pk=librarian.pk)
    impostor.user_permissions.set(Permission.objects.using("external").all())
    assert client.get("/users/auth/user/").status_code == 403
    librarian.user_permissions.add(Permission.objects.using("default").get(codename="view_user"))
    with Asked() as asked:
        page = client.get("/users/auth/user/").content.decode()
    assert "impostor" in page
    assert "wrong critic" not in page
    assert asked.about("external", "auth_permission", "django_") == []


def test_the_admins_own_models_stay_apart() -> None:
    (routes,) = [known.routes for model, known in users._registry.items() if model is User]
    assert routes(User)
    assert routes(Group)
    assert not routes(ContentType)
    assert not OnExternal(Author, admin.AdminSite()).routes(Group)


@isolate_apps("tests.admin")
def test_a_user_without_a_constraint_is_one_who_logs_in() -> None:
    class Loan(models.Model):  # noqa: DJ008
        who = models.ForeignKey(User, models.CASCADE, related_name="+")
        clerk = models.ForeignKey(User, models.CASCADE, related_name="+", db_constraint=False)

        class Meta:
            app_label = "library"

    assert reach_of([Loan]) == {Loan, User}
    Loan._meta.get_field("who").db_constraint = False
    assert reach_of([Loan]) == {Loan}


def test_importing_it_registers_nothing_and_needs_no_admin() -> None:
    script = (
        "import django; from django.conf import settings; settings.configure(INSTALLED_APPS=['django_aurora_routing']);"
        "django.setup(); import django_aurora_routing; import sys; assert 'django.contrib.admin' not in sys.modules;"
        "import django_aurora_routing.admin; import django.contrib.admin.sites as s; assert not list(s.all_sites)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
