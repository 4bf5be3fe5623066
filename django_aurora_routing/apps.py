"""The application: registers its system checks. Nothing else happens when Django starts."""

from __future__ import annotations

from django.apps import AppConfig


class AuroraRoutingConfig(AppConfig):
    name = "django_aurora_routing"
    label = "aurora_routing"
    verbose_name = "Aurora routing"

    def ready(self) -> None:
        from . import checks

        checks.register_checks()
