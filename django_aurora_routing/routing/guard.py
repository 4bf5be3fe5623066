"""The execute wrapper that every connection gets: refuses writes where they are prevented, and notes those made.

It goes by the text of a statement (core/effects.py), so it works on every database. Calls of procedures by
`cursor.callproc()` pass no execute wrapper in Django: only the server can refuse those, and our backends ask it to.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ..conf import on_settings_changed, routing_settings
from ..core.effects import Effect, effect_of, first_words
from ..errors import TransactionResolutionUnknownError
from . import consistency
from .clusters import Cluster, clusters
from .context import current
from .errors import WritePrevented
from .failed_reads import Execute, is_lost, is_worth_another_reader, read_elsewhere, sqlstate_of
from .moved_reads import seen_on_another
from .scopes import current_scope, note_write
from .unpinning import does_not_pin


@dataclass(frozen=True, slots=True)
class _Role:
    """What an alias is in its cluster."""

    cluster: Cluster
    is_writer: bool
    refuses_writes: bool
    waits: bool
    """PIN_POLICY is "reader_session", and this is a reader: it waits for what the scope has written."""


@lru_cache(maxsize=1)
def _roles() -> Mapping[str, _Role]:
    """The roles of the aliases that have one; none while settings are wrong, which routers and checks tell."""
    try:
        by_alias, wanted = clusters().by_alias, routing_settings()
    except ImproperlyConfigured:
        return {}
    guarded, waits = wanted.prevent_writes_on_readers, wanted.pin_policy == "reader_session"
    return {
        alias: _Role(
            cluster, alias == cluster.writer, guarded and alias in cluster.readers, waits and alias in cluster.readers
        )
        for alias, cluster in by_alias.items()
        if cluster.readers
    }


on_settings_changed(_roles.cache_clear, "AURORA_ROUTING", "DATABASES")


def install() -> None:
    """Guard every connection, those that are open already too. Called when Django starts."""
    connection_created.connect(_on_connection_created, dispatch_uid=_on_connection_created)
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            _on_connection_created(connection=connection)


def _on_connection_created(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    if guard not in connection.execute_wrappers:
        # First, as `connection.execute_wrapper()` blocks that are open now will remove the last.
        connection.execute_wrappers.insert(0, guard)
    if hasattr(connection, "wants_read_only"):  # one of our backends, which has the server refuse writes as well
        connection.wants_read_only = writes_are_prevented


def writes_are_prevented() -> bool:
    """Whether a `prevent_writes` block is in force."""
    frame = current()
    return frame is not None and frame[6] is not None and frame[6].prevented_by is not None


def guard(execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """See the top of the module, and Django's docs on database instrumentation."""
    connection = context["connection"]
    frame = current()
    rules = frame[6] if frame is not None else None
    prevented_by = rules.prevented_by if rules is not None else None
    role = _roles().get(connection.alias)
    if role is None and prevented_by is None:
        return execute(sql, params, many, context)
    effect = effect_of(sql if sql.__class__ is str else text_of(sql, connection), connection.vendor)
    guarded = prevented_by is not None or (role is not None and role.refuses_writes)
    if guarded and effect is not Effect.NONE and not (prevented_by is None and _is_setting_up_tests()):
        raise _refused(sql, connection, role, prevented_by)
    if guarded or (role is not None and not role.is_writer):
        if role is not None and role.waits:
            execute = _waiting(execute, role.cluster)
        try:
            result = execute(sql, params, many, context)
        except Error as error:
            if guarded and _is_refused_by_server(error):
                raise _refused(sql, connection, role, prevented_by) from error
            if role is None or role.is_writer or effect is not Effect.NONE or many:
                raise
            if not is_worth_another_reader(error, connection):
                raise
            return read_elsewhere(error, role.cluster, execute, sql, params, context)
        if frame is None or role is None or role.is_writer or effect is not Effect.NONE or many:
            return result
        if frame[5].served_by.get(connection.alias) is vars(connection).get("instance"):
            return result
        return seen_on_another(result, role.cluster, frame, execute, sql, params, context)
    if role is None or effect is not Effect.WRITE or does_not_pin(text_of(sql, connection)):
        return execute(sql, params, many, context)
    try:
        result = execute(sql, params, many, context)
    except Error as error:
        is_unknown = isinstance(error, TransactionResolutionUnknownError)
        if is_unknown or (connection.autocommit and is_lost(connection, error)):  # it may have been made
            note_write(role.cluster.name, connection)
        raise
    note_write(role.cluster.name, connection)
    return result


def _waiting(execute: Execute, cluster: Cluster) -> Execute:
    """`execute`, which has the session of the reader that it is called for wait for what the scope has written."""

    def wait_and_execute(sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if context["connection"].alias in cluster.readers:
            waits = current_scope().has_readers_wait(cluster.name)
            consistency.ensure(context["connection"], consistency.GLOBAL if waits else None)
        return execute(sql, params, many, context)

    return wait_and_execute


def text_of(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """The statement as text, which psycopg composes, and drivers take as bytes, too."""
    if hasattr(sql, "as_string"):
        return str(sql.as_string(connection.connection))
    return sql.decode(errors="replace") if isinstance(sql, bytes) else str(sql)


def _is_refused_by_server(error: Error) -> bool:
    """Whether a transaction that is READ ONLY made the error: what the text did not show, a function did."""
    return sqlstate_of(error) == "25006" or bool(error.args and error.args[0] == 1792)


# Django's own work on a test database, be it an alias's own because the reader has no TEST["MIRROR"].
_SETTING_UP = {
    ("django.db.backends.base.creation", "create_test_db"),
    ("django.test.testcases", "_pre_setup"),
    ("django.test.testcases", "_post_teardown"),
}


def _is_setting_up_tests() -> bool:
    """Whether Django's test runner is the one who writes. Looked up only when the answer is about to be an error."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) in _SETTING_UP:
            return True
        frame = frame.f_back
    return False


def _refused(
    sql: Any, connection: BaseDatabaseWrapper, role: _Role | None, prevented_by: object | None
) -> WritePrevented:
    text, alias = text_of(sql, connection), connection.alias
    model = _model_in(text)
    what = f"{first_words(text, connection.vendor) or 'a statement'!r}" + (f" for model {model}" if model else "")
    if prevented_by is not None:
        why = f"writes and locks are prevented by {prevented_by}. Do it outside of that block."
    else:
        assert role is not None
        why = (
            f"it is a reader of cluster {role.cluster.name!r}, and this writes, locks, or may do so. "
            f"Use in_writer(), or .using({role.cluster.writer!r})."
        )
    return WritePrevented(f"Alias {alias!r} was not sent {what}: {why}", alias=alias, model=model)


def _model_in(text: str) -> str | None:
    """The label of the first model whose table is named in the statement."""
    if not apps.models_ready:
        return None
    models = {model._meta.db_table.lower(): model for model in apps.get_models(include_auto_created=True)}
    for word in re.findall(r"[\w$]+", text[:10_000].lower()):
        if word in models:
            return models[word]._meta.label
    return None
