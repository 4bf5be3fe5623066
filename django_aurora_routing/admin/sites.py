"""An admin site for one database, which may stand beside the ordinary one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from .options import MultiDBModelAdmin
from .pages import Pages, is_answered


class MultiDBAdminSite(admin.AdminSite):
    """An AdminSite all of whose models are served from the alias `using`.

        external = MultiDBAdminSite("external")
        external.register(Product, ProductAdmin)
        urlpatterns = [path("external-admin/", external.urls), ...]

    Any admin class can be registered; one that has a `using` of its own keeps it. A subclass may set `using` and
    `read_using` as attributes. `name`, by default the alias, is the namespace of its URLs: no two sites may share it.
    """

    using: str | None = None
    read_using: str | None = None

    def __init__(self, using: str | None = None, name: str | None = None, *, read_using: str | None = None) -> None:
        self.using = using or self.using
        self.read_using = read_using or self.read_using
        super().__init__(name or self.using or "admin")

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[admin.ModelAdmin[Any]] | None = None,
        **options: Any,
    ) -> None:
        if admin_class is None:
            admin_class = MultiDBModelAdmin
        elif not issubclass(admin_class, MultiDBModelAdmin):
            own = {name: getattr(admin_class, name, None) for name in ("using", "read_using")}
            bases = (MultiDBModelAdmin, admin_class)
            admin_class = type(admin_class.__name__, bases, {**own, "__module__": admin_class.__module__})
        super().register(model_or_iterable, admin_class, **options)

    def routes(self, model: type[Model]) -> bool:
        """Whether a page of the site itself, which is about no one model, has queries for `model` on `using`."""
        return any(
            known.routes(model)
            for known in self._registry.values()
            if isinstance(known, MultiDBModelAdmin) and known.pages.using == self.using
        )

    def autocomplete_view(self, request: HttpRequest) -> Any:
        """For the fields of inlines that know nothing of databases; the other fields ask their own admin class."""
        if self.using is None or is_answered(request):
            return super().autocomplete_view(request)
        return Pages(self.using, self.read_using, self.routes).answer(super().autocomplete_view, request)
