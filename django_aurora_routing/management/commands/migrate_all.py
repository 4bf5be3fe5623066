"""`manage.py migrate_all`: the project's `migrate`, for one database after the other; decides which and reports."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connections, router
from django.db.migrations.recorder import MigrationRecorder

from ...routing.clusters import clusters
from ...routing.places import is_same_database


class Command(BaseCommand):
    help = (
        "Migrates every database of the project, in the order of DATABASES: writers once each, never readers, mirrors "
        "or databases where the routers allow nothing. Stops at the first error. Takes the options of migrate."
    )
    requires_system_checks: list[str] = []  # handle() runs them, once for all databases

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Some arguments of migrate are given anew.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        _migrate().add_arguments(parser)
        parser.add_argument("--skip-checks", action="store_true", help="Skip system checks.")
        parser.add_argument(
            "--database",
            action="append",
            dest="databases",
            metavar="ALIAS",
            choices=tuple(connections),
            help="Migrate this database only. May be given several times.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        asked = options.pop("databases", None)
        chosen, skipped = self.choose(asked)
        if not options.pop("skip_checks"):
            self.check(databases=chosen)
        for alias, reason in skipped.items():
            self.say(f"Not {alias}: {reason}.", verbosity=options["verbosity"])
        behind = []
        for number, alias in enumerate(chosen):
            name = f"[{number + 1}/{len(chosen)}] {alias}"
            self.say(name, verbosity=options["verbosity"], heading=True)
            try:
                self.migrate(name, alias, options)
            except SystemExit as error:  # --check has found something; the next database may have something too
                if not (options["check_unapplied"] and error.code):
                    raise
                behind.append(alias)
            except (Exception, KeyboardInterrupt) as error:  # what a migration may raise is anything
                raise CommandError(_stopped(error, number, chosen)) from error
        if behind:
            raise CommandError(f"Migrations are not applied on {_listed(behind)}.")

    def choose(self, asked: Iterable[str] | None) -> tuple[list[str], dict[str, str]]:
        """The aliases to migrate, and those that are not, with the reason.

        Raises CommandError when a database is asked for that is another's copy.
        """
        chosen: list[str] = []
        skipped: dict[str, str] = {}
        for alias in connections:  # dynamic databases are not among them
            if asked is not None and alias not in asked:
                continue
            if copied := _copy_of(alias):
                if asked is not None:
                    raise CommandError(f"{alias!r} is never migrated: it is {copied}.")
                skipped[alias] = copied
            elif not _is_any_model_allowed(alias):
                skipped[alias] = "the routers allow no migration there"
            elif same := next((other for other in chosen if _is_same(alias, other)), None):
                skipped[alias] = f"the same database as {same!r}"
            else:
                chosen.append(alias)
        return chosen, skipped

    def migrate(self, name: str, alias: str, options: dict[str, Any]) -> None:
        """Run the project's migrate on one database, and say what it did there, also when it fails."""
        begun = time.monotonic()
        only_asks = options["plan"] or options["check_unapplied"]
        before = None if only_asks else _applied(alias)
        outcome = "failed"
        try:
            call_command(_migrate(), **options, database=alias, skip_checks=True)
            outcome = "up to date" if options["check_unapplied"] else "done"
        except SystemExit:
            outcome = "migrations are not applied"
            raise
        finally:
            if before is not None:
                outcome = f"{outcome}, {_difference(before, _applied(alias))}"
            self.say(f"{name}: {outcome}, {time.monotonic() - begun:.1f} s", verbosity=options["verbosity"])

    def say(self, text: str, *, verbosity: int, heading: bool = False) -> None:
        if verbosity:
            self.stdout.write(text, self.style.MIGRATE_HEADING if heading else None)


def _migrate() -> BaseCommand:
    """The command `migrate`, which may be an app's own."""
    home = get_commands()["migrate"]
    return home if isinstance(home, BaseCommand) else load_command_class(home, "migrate")


def _copy_of(alias: str) -> str | None:
    """Of what the alias is a copy that gets its tables from there."""
    known = clusters()
    if alias in known.readers:
        return f"a reader of {known.by_alias[alias].writer!r}"
    config = connections.settings[alias]
    if mirrored := (config.get("TEST") or {}).get("MIRROR"):
        return f"a mirror of {mirrored!r} in tests"
    if config["ENGINE"] == "django.db.backends.dummy":
        return "without an ENGINE"
    return None


def _is_any_model_allowed(alias: str) -> bool:
    return any(router.allow_migrate_model(alias, model) for model in apps.get_models(include_auto_created=True))


def _is_same(alias: str, other: str) -> bool:
    return is_same_database(connections.settings[alias], connections.settings[other])


def _applied(alias: str) -> set[tuple[str, str]] | None:
    """The migrations recorded in a database; None where it cannot be asked any more."""
    try:
        return set(MigrationRecorder(connections[alias]).applied_migrations())
    except DatabaseError:
        return None


def _difference(before: set[tuple[str, str]], after: set[tuple[str, str]] | None) -> str:
    if after is None:
        return "how far is not known"
    counts = {"applied": len(after - before), "unapplied": len(before - after)}
    told = [f"{count} migration{'s' * (count > 1)} {what}" for what, count in counts.items() if count]
    return " and ".join(told) or "no migration applied"


def _stopped(error: BaseException, number: int, chosen: list[str]) -> str:
    done, rest = chosen[:number], chosen[number + 1 :]
    return (
        f"Stopped at {chosen[number]!r}: {type(error).__name__}: {error}\n"
        f"Done: {_listed(done)}. Not begun: {_listed(rest)}."
    )


def _listed(aliases: list[str]) -> str:
    return ", ".join(map(repr, aliases)) or "none"
