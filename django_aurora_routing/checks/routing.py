"""Checks of AURORA_ROUTING, of the routers, and of which apps they send where."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router
from django.db.models import ForeignKey

from ..conf import NAME, RoutingSettings, did_you_mean, listed, routing_settings
from ..routers import AppLabelRouter, DynamicDbRouter, ReadWriteRouter, places_of
from ..routing.app_labels import Place, is_same_place
from ..routing.clusters import Clusters
from ..routing.configs import PREFIX
from ..routing.places import is_same_database
from .project import Messages, guarded, is_split, name_of, place_of, refused_app_labels, refused_settings, routers_of

ROUTERS = (DynamicDbRouter, AppLabelRouter, ReadWriteRouter)
"""In the order in which they have to be asked."""


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E010 and E011: what the first query would refuse."""
    return refused_settings() or refused_app_labels()


def check_router_order(known: Clusters) -> Messages:
    """E012: a router answers before one that has to be asked first."""
    found = [(kind, name_of(one)) for one in router.routers for kind in ROUTERS if isinstance(one, kind)]
    order = [ROUTERS.index(kind) for kind, _ in found]
    if order != sorted(order):
        right = [name for _, name in sorted(found, key=lambda item: ROUTERS.index(item[0]))]
        yield Error(
            f"DATABASE_ROUTERS has {listed(name for _, name in found)} in this order: what the later ones should "
            "decide is decided before they are asked.",
            hint=f"Put them in this order: {listed(right)}.",
            id="aurora_routing.E012",
        )


def check_prefix(known: Clusters) -> Messages:
    """E013: an alias has a name that dynamic databases are known by."""
    for alias in connections:
        if alias.startswith(PREFIX):
            yield Error(
                f"DATABASES[{alias!r}]: aliases that begin with {PREFIX!r} are those of in_database({{...}}) blocks.",
                hint=f"Give it another name, e.g. {alias.removeprefix(PREFIX)!r}.",
                id="aurora_routing.E013",
            )


def check_cluster_of_router(known: Clusters) -> Messages:
    """E016: a ReadWriteRouter is for a cluster that there is not."""
    for one in routers_of(ReadWriteRouter):
        if known.declared and known.by_name and one.cluster not in known.by_name:
            yield Error(
                f"{name_of(one)} is for the cluster {one.cluster!r}, which AURORA_ROUTING['CLUSTERS'] does not have.",
                hint=f"There is {listed(known.by_name)}. List a subclass of the router with the right `cluster`, "
                "or call the cluster 'default'.",
                id="aurora_routing.E016",
            )


def check_routers_are_there(known: Clusters) -> Messages:
    """W010: settings that only a router reads, and no such router."""
    wanted = [
        (ReadWriteRouter, known.readers, f"The readers {listed(sorted(known.readers))} are never read from"),
        (AppLabelRouter, routing_settings().app_labels, "AURORA_ROUTING['APP_LABELS'] has no effect"),
    ]
    for kind, is_wanted, consequence in wanted:
        if is_wanted and not routers_of(kind):
            yield Warning(
                f"{consequence}: DATABASE_ROUTERS has no {kind.__name__}.",
                hint=f"Add 'django_aurora_routing.routers.{kind.__name__}' to DATABASE_ROUTERS.",
                id="aurora_routing.W010",
            )


def check_relations(known: Clusters) -> Messages:
    """W017: models that are related, in databases that are not."""
    seen = set()
    for model in apps.get_models(include_auto_created=True) if is_split() else ():
        for field in model._meta.local_concrete_fields:
            if not isinstance(field, ForeignKey) or not getattr(field, "db_constraint", True):
                continue
            here, there = place_of(model), place_of(field.related_model)
            pair = model._meta.app_label, field.related_model._meta.app_label
            if is_same_place(here, there) or pair in seen:
                continue
            seen.add(pair)
            yield Warning(
                f"{model._meta.label}.{field.name} is a foreign key to {field.related_model._meta.label}, but the "
                f"first is in {_where(here)} and the second in {_where(there)}.",
                hint="Name the same database for both in APP_LABELS; or give the field db_constraint=False, and query "
                "without joins.",
                id="aurora_routing.W017",
            )


def check_contrib_apps(known: Clusters) -> Messages:
    """W018: migrate fills tables of contrib apps by itself, in more than one database."""
    labels = ("contenttypes.ContentType", "auth.Permission", "sites.Site")
    for label in labels if is_split() else ():
        app_label, model_name = label.split(".")
        if not apps.is_installed(f"django.contrib.{app_label}"):
            continue
        model = apps.get_model(app_label, model_name)
        aliases: list[str] = []
        for alias in connections:
            config = connections.settings[alias]
            if alias in known.readers or config["TEST"].get("MIRROR") or config["ENGINE"].endswith("dummy"):
                continue
            if any(is_same_database(config, connections.settings[other]) for other in aliases):
                continue
            if router.allow_migrate_model(alias, model):
                aliases.append(alias)
        if len(aliases) > 1:
            yield Warning(
                f"{label} is migrated to {listed(aliases)}; each makes rows of its own, whose keys differ.",
                hint=f"Name its database in APP_LABELS, e.g. {app_label!r}: {aliases[0]!r}.",
                id="aurora_routing.W018",
            )


def check_labels_exist(known: Clusters) -> Messages:
    """W021: an AppLabelRouter or ALWAYS_WRITER names an app or model that is not there."""
    models = {model._meta.label_lower: model._meta.label for model in apps.get_models()}
    named = [(name_of(one), label) for one in routers_of(AppLabelRouter) for label in places_of(one).by_label]
    # The defaults are apps that a project may do without.
    always = set(routing_settings().always_writer) - set(RoutingSettings().always_writer)
    named += [(f"{NAME}['ALWAYS_WRITER']", label) for label in sorted(always)]
    for where, label in named:
        if label not in apps.app_configs and label.lower() not in models:
            nearest = did_you_mean(label, [*apps.app_configs, *models.values()])
            yield Warning(
                f"{where}: there is no app or model {label!r}.",
                hint=nearest.strip() or "Labels are those of apps, as 'auth', or of models, as 'auth.User'.",
                id="aurora_routing.W021",
            )


def _where(place: Place | None) -> str:
    return "the default database" if place is None else repr(place.name)


CHECKS = (
    check_settings,
    *map(
        guarded,
        (
            check_router_order,
            check_prefix,
            check_cluster_of_router,
            check_routers_are_there,
            check_relations,
            check_contrib_apps,
            check_labels_exist,
        ),
    ),
)
