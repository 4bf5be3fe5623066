"""System checks: what can be known to be wrong before the first connection. docs/checks.rst explains each id."""

from __future__ import annotations

from django.core.checks import Tags, register


def register_checks() -> None:
    """Plain checks, which `manage.py check` always runs, but for those that ask the network about named databases."""
    from . import backend, readers, routing

    for check in (*backend.CHECKS, *routing.CHECKS, *readers.CHECKS):
        register(check, "aurora_routing")
    for check in backend.DEPLOY_CHECKS:
        register(check, "aurora_routing", deploy=True)
    for check in backend.DATABASE_CHECKS:
        register(check, "aurora_routing", Tags.database)
