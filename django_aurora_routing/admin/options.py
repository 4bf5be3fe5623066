"""Admin classes all of whose pages are on one database; the pages themselves are Django's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import BaseModelAdmin, InlineModelAdmin
from django.contrib.admin.widgets import AutocompleteMixin, RelatedFieldWidgetWrapper
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Field, Model, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path
from django.utils.functional import cached_property

from ..routing import in_database
from .pages import Pages, View, alias_of_page, check_routed, log_with_the_change, with_own_content_types, wrapped
from .reach import reach_of


class _OnOneDatabase(BaseModelAdmin):  # type: ignore[type-arg]
    """What an admin class and its inlines have in common."""

    using: str | None = None

    def owner(self) -> MultiDBModelAdmin | None:
        """The admin class whose pages this is part of."""
        raise NotImplementedError

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset = super().get_queryset(request)
        alias = alias_of_page(request, queryset.model)
        if alias is None and (owner := self.owner()) is not None:
            alias = owner.pages.reads_from(request)
        return queryset if alias is None else queryset.using(alias)

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest | None, **kwargs: Any) -> Any:
        formfield = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[arg-type]
        widget = getattr(formfield, "widget", None)
        owner = self.owner()
        if owner is None:
            return formfield
        if isinstance(widget, RelatedFieldWidgetWrapper):
            if not owner.shares_database_with(widget.rel.model):
                # Their pop-ups would show, and change, whatever has the same key in another database.
                widget.can_add_related = widget.can_change_related = False
                widget.can_delete_related = widget.can_view_related = False
            widget = widget.widget
        if isinstance(widget, AutocompleteMixin):
            widget.url_name = f"%s:{owner.autocomplete_name}"
        return formfield

    def get_view_on_site_url(self, obj: Model | None = None) -> str | None:
        # Django's link leads over a view that looks the object up in the database of the content types.
        if obj is not None and self.view_on_site is True and hasattr(obj, "get_absolute_url"):
            url: str = obj.get_absolute_url()
            return url
        return super().get_view_on_site_url(obj)


class MultiDBModelAdmin(_OnOneDatabase, admin.ModelAdmin):  # type: ignore[type-arg]
    """A ModelAdmin for the rows that its model has on the alias `using`.

        @admin.register(Product)
        class ProductAdmin(MultiDBModelAdmin):
            using = "external"

    Every query about the model and the models related to it goes there, on every page. Who is logged in, what they
    may do, and the log of their changes stay where they are. With `read_using`, pages that only show something read
    from that alias. Without `using`, a MultiDBAdminSite says what it is.

    Raises ImproperlyConfigured, when a page is asked for, if the alias does not exist or DynamicDbRouter is not in
    DATABASE_ROUTERS; `manage.py check` says the same.
    """

    read_using: str | None = None

    def routes(self, model: type[Model]) -> bool:
        """Whether queries for `model` go to `using` while a page is answered. A subclass may choose otherwise."""
        return model._meta.concrete_model in self._reach

    @cached_property
    def _reach(self) -> frozenset[type[Model]]:
        return reach_of([self.model, *(inline.model for inline in self.inlines)])

    @property
    def pages(self) -> Pages:
        """Where the pages read and write."""
        site_using = getattr(self.admin_site, "using", None)
        using = self.using or site_using
        if using is None:
            raise ImproperlyConfigured(
                f"{type(self).__name__} needs the alias of a database, as in using = 'external', or to be registered "
                "on a MultiDBAdminSite that has one."
            )
        read_using = self.read_using
        if read_using is None and using == site_using:
            read_using = getattr(self.admin_site, "read_using", None)
        return Pages(using, read_using, self.routes)

    def owner(self) -> MultiDBModelAdmin:
        return self

    @property
    def urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]
        complete = path("autocomplete/", self.admin_site.admin_view(self._autocomplete), name=self.autocomplete_name)
        return wrapped([complete, *self.get_urls()], self._on_database)

    @property
    def autocomplete_name(self) -> str:
        """The name of the URL that autocompletes the fields of these pages, on the database of these pages."""
        return f"{self.opts.app_label}_{self.opts.model_name}_autocomplete"

    def _autocomplete(self, request: HttpRequest) -> HttpResponseBase:
        return self.admin_site.autocomplete_view(request)

    def _on_database(self, view: View) -> View:
        def on_database(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            pages = self.pages
            check_routed(pages, self.model)
            # The person and their permissions are found, and kept with the request, before anything is routed.
            user: Any = request.user
            user.has_module_perms(self.opts.app_label)
            return pages.answer(view, request, *args, **kwargs)

        return on_database

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        with log_with_the_change(self.pages.using):
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method != "POST":
            return super().delete_view(request, *args, **kwargs)
        with log_with_the_change(self.pages.using):
            return super().delete_view(request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if "_save" not in request.POST:  # actions are in no transaction, here as with Django
            return super().changelist_view(request, *args, **kwargs)
        with log_with_the_change(self.pages.using):
            return super().changelist_view(request, *args, **kwargs)

    def get_formsets_with_inlines(self, request: HttpRequest, obj: Model | None = None) -> Iterator[Any]:
        for formset, inline in super().get_formsets_with_inlines(request, obj):
            yield with_own_content_types(formset, self.pages.using), inline

    def shares_database_with(self, model: type[Model]) -> bool:
        """Whether the site's pages for `model` show the objects that these pages refer to."""
        other = self.admin_site._registry.get(model)
        if other is None or not self.routes(model):
            return True
        theirs = other.pages.using if isinstance(other, MultiDBModelAdmin) else DEFAULT_DB_ALIAS
        return theirs == self.pages.using

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        return [*super().check(**kwargs), *self._check_databases()]

    def _check_databases(self) -> Iterable[checks.CheckMessage]:
        try:
            pages = self.pages
        except ImproperlyConfigured as error:
            yield checks.Error(str(error), obj=type(self), id="aurora_routing.E101")
            return
        try:
            check_routed(pages, self.model)
            in_database(pages.read_using or pages.using)
        except ImproperlyConfigured as error:
            yield checks.Error(str(error), obj=type(self), id="aurora_routing.E102")
        for inline in self.inlines:
            using = getattr(inline, "using", None)
            if using is not None and using != pages.using:
                yield checks.Error(
                    f"{inline.__name__} is for {using!r}, and the page that it is on for {pages.using!r}.",
                    hint="Relations do not cross databases: leave out the inline's `using`.",
                    obj=type(self),
                    id="aurora_routing.E103",
                )


class _Inline(_OnOneDatabase, InlineModelAdmin):  # type: ignore[type-arg]
    def owner(self) -> MultiDBModelAdmin | None:
        owner = self.admin_site._registry.get(self.parent_model)
        return owner if isinstance(owner, MultiDBModelAdmin) else None


class MultiDBTabularInline(_Inline, admin.TabularInline):  # type: ignore[type-arg]
    """A TabularInline for the pages of a MultiDBModelAdmin, on the database of these."""


class MultiDBStackedInline(_Inline, admin.StackedInline):  # type: ignore[type-arg]
    """A StackedInline for the pages of a MultiDBModelAdmin, on the database of these."""
