"""The application: when Django starts, registers its system checks and connects to signals; nothing else."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig


class AuroraRoutingConfig(AppConfig):
    name = "django_aurora_routing"
    label = "aurora_routing"
    verbose_name = "Aurora routing"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        from .routing import transactions

        transactions.follow_settings()  # before the modules of the project are imported, which decorate with atomic

    def ready(self) -> None:
        from . import checks
        from .routing import guard, lag, scopes, stale_writes

        checks.register_checks()
        scopes.install()
        lag.add_source(f"{__package__}.backends.lags")  # imported when somebody wants to know
        guard.install()
        stale_writes.install()
