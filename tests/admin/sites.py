"""The library administered in three ways: each class by itself, by a site, and with the overrides of Django's docs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.admin import GenericTabularInline
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from django_aurora_routing.admin import (
    MultiDBAdminSite,
    MultiDBModelAdmin,
    MultiDBStackedInline,
    MultiDBTabularInline,
)

from .models import Author, Book, Remark, Review, Tag


class BookOptions:
    list_display = ["title", "author", "count_of_reviews"]
    list_editable = ["author"]
    list_filter = ["author", "tags"]
    search_fields = ["title", "author__name"]
    save_as = True
    actions = ["export"]

    def count_of_reviews(self, book: Book) -> int:
        return Review.objects.filter(book=book).count()

    @admin.action(description="export")
    def export(self, request: HttpRequest, queryset: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse(f"{book.title} by {book.author}\n" for book in Book.objects.order_by("pk"))


class AuthorOptions:
    search_fields = ["name"]


# One by one, on an ordinary site.


class BookInline(MultiDBTabularInline):
    model = Book
    extra = 1


class ReviewInline(MultiDBStackedInline):
    model = Review
    extra = 1


class AuthorAdmin(AuthorOptions, MultiDBModelAdmin):
    using = "external"
    inlines = [BookInline]


class BookAdmin(BookOptions, MultiDBModelAdmin):
    using = "external"
    autocomplete_fields = ["author"]
    inlines = [ReviewInline]

    def get_urls(self) -> list[Any]:
        return [path("titles/", self.admin_site.admin_view(self.titles)), *super().get_urls()]

    def titles(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(f"{book.title}\n" for book in Book.objects.order_by("pk"))


class TagAdmin(MultiDBModelAdmin):
    using = "external"


ordinary = admin.AdminSite("ordinary")
ordinary.register(Author, AuthorAdmin)
ordinary.register(Book, BookAdmin)
ordinary.register(Tag, TagAdmin)


# By a site, which takes classes that know nothing of databases.


class PlainBookInline(admin.TabularInline):
    model = Book
    extra = 1


class PlainReviewInline(admin.StackedInline):
    model = Review
    extra = 1


class PlainAuthorAdmin(AuthorOptions, admin.ModelAdmin):
    inlines = [PlainBookInline]


class PlainBookAdmin(BookOptions, admin.ModelAdmin):
    autocomplete_fields = ["author"]
    inlines = [PlainReviewInline]


external = MultiDBAdminSite("external")
external.register(Author, PlainAuthorAdmin)
external.register(Book, PlainBookAdmin)
external.register(Tag)


# As Django's docs have it (topics/db/multi-db), with only the imports of the base classes changed.


class RecipeMixin:
    using = "external"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).using(self.using)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_foreignkey(db_field, request, using=self.using, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_manytomany(db_field, request, using=self.using, **kwargs)


class RecipeModelMixin(RecipeMixin):
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.save(using=self.using)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        obj.delete(using=self.using)


class RecipeBookInline(RecipeMixin, MultiDBTabularInline):
    model = Book
    extra = 1


class RecipeReviewInline(RecipeMixin, MultiDBStackedInline):
    model = Review
    extra = 1


class RecipeAuthorAdmin(RecipeModelMixin, AuthorOptions, MultiDBModelAdmin):
    inlines = [RecipeBookInline]


class RecipeBookAdmin(RecipeModelMixin, BookOptions, MultiDBModelAdmin):
    autocomplete_fields = ["author"]
    inlines = [RecipeReviewInline]


recipe = admin.AdminSite("recipe")
recipe.register(Author, RecipeAuthorAdmin)
recipe.register(Book, RecipeBookAdmin)
recipe.register(Tag, type("RecipeTagAdmin", (RecipeModelMixin, MultiDBModelAdmin), {}))


# And unchanged, to show what it does.


class DocsAuthorAdmin(RecipeModelMixin, admin.ModelAdmin):
    pass


docs = admin.AdminSite("docs")
docs.register(Author, DocsAuthorAdmin)

# What is particular.


class RemarkInline(GenericTabularInline):
    model = Remark
    extra = 1


class RemarkedTagAdmin(MultiDBModelAdmin):
    using = "external"
    inlines = [RemarkInline]


class LoneBookAdmin(BookOptions, MultiDBModelAdmin):
    using = "external"
    list_editable = []


particular = admin.AdminSite("particular")
particular.register(Tag, RemarkedTagAdmin)
particular.register(Book, LoneBookAdmin)
particular.register(Author, PlainAuthorAdmin)  # on 'default'
reading = MultiDBAdminSite("default", "reading", read_using="external")
reading.register(Book, PlainBookAdmin)
reading.register(Author, PlainAuthorAdmin)
users = MultiDBAdminSite("external", "users")
users.register(User, UserAdmin)
users.register(Group, GroupAdmin)

SITES = [ordinary, external, recipe]
urlpatterns = [path(f"{site.name}/", site.urls) for site in (*SITES, docs, particular, reading, users)]
