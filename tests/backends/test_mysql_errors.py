"""An error of the server arrives as it does with mysqlclient: the same class of Django's, the same arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from django.db.utils import ConnectionHandler
from mysql.connector import errors

from django_aurora_routing.backends.mysql_errors import class_of_same_name, error_class
from django_aurora_routing.lab import LocalServer

from .conftest import ENGINE


@pytest.fixture(scope="module")
def connection(lab_server: LocalServer, django_db_blocker: Any) -> Iterator[Any]:
    """The engine on a single server, with a parent and a child table."""
    lab_server.heal()
    settings = {
        "ENGINE": ENGINE,
        "HOST": lab_server.host,
        "PORT": lab_server.port,
        "USER": lab_server.user,
        "PASSWORD": lab_server.password,
        "NAME": "app",
        "OPTIONS": {"plugins": ""},
    }
    with django_db_blocker.unblock():
        wrapper = ConnectionHandler({"default": settings})["default"]
        with wrapper.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS child, parent")
            cursor.execute("CREATE TABLE parent (id INT PRIMARY KEY, u VARCHAR(5) NOT NULL, n INT CHECK (n > 0))")
            cursor.execute("CREATE TABLE child (id INT PRIMARY KEY, parent_id INT REFERENCES parent (id))")
            cursor.execute("INSERT INTO parent VALUES (1, 'a', 1)")
            cursor.execute("INSERT INTO child VALUES (1, 1)")
        yield wrapper
        with wrapper.cursor() as cursor:
            cursor.execute("DROP TABLE child, parent")
        wrapper.close()


@pytest.mark.parametrize(
    ("sql", "cls", "errno"),
    [
        ("INSERT INTO parent VALUES (1, 'b', 1)", IntegrityError, 1062),
        ("INSERT INTO parent VALUES (2, NULL, 1)", IntegrityError, 1048),
        ("INSERT INTO parent (id) VALUES (2)", IntegrityError, 1364),
        ("INSERT INTO parent VALUES (2, 'b', -1)", IntegrityError, 4025),
        ("INSERT INTO child VALUES (2, 9)", IntegrityError, 1452),
        ("DELETE FROM parent", IntegrityError, 1451),
        ("SELECT CAST(0 AS UNSIGNED) - 1", IntegrityError, 1690),
        ("INSERT INTO parent VALUES (2, 'too long', 1)", DataError, 1406),
        ("INSERT INTO parent VALUES (99999999999, 'b', 1)", DataError, 1264),
        ("SELEKT", ProgrammingError, 1064),
        ("SELECT * FROM missing", ProgrammingError, 1146),
        ("SELECT missing FROM parent", OperationalError, 1054),
        ("KILL QUERY CONNECTION_ID()", OperationalError, 1317),
        ("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'deadlock'", OperationalError, 1213),
        ("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'read-only'", OperationalError, 1290),
        ("XA COMMIT 'missing'", OperationalError, 1397),
    ],
)
def test_class_and_arguments(connection: Any, sql: str, cls: type[DatabaseError], errno: int) -> None:
    with connection.cursor() as cursor, pytest.raises(DatabaseError) as caught:
        cursor.execute(sql)
    assert type(caught.value) is cls
    number, message = caught.value.args
    assert number == errno
    assert isinstance(message, str)
    assert message
    # Where Django's own cursor makes an IntegrityError of mysqlclient's OperationalError, it names no cause.
    assert isinstance(caught.value.__cause__ or caught.value.__context__, connection.driver_errors)


def test_what_the_cursor_itself_finds_wrong(connection: Any) -> None:
    with connection.cursor() as cursor, pytest.raises(ProgrammingError) as caught:
        cursor.execute("SELECT %s, %s", [1])
    assert caught.value.args == ("not enough arguments for format string",)
    with pytest.raises(ProgrammingError, match="cursor closed"):
        cursor.execute("SELECT 1")


@pytest.mark.parametrize(
    ("errno", "cls"), [(0, InterfaceError), (999, InternalError), (1235, NotSupportedError), (2013, OperationalError)]
)
def test_numbers_that_no_test_can_provoke(errno: int, cls: type[Exception]) -> None:
    assert error_class(errno) is cls


@pytest.mark.parametrize(
    ("error", "name"),
    [(errors.ProgrammingError("x"), "ProgrammingError"), (errors.ReadTimeoutError("x"), "Error"), (ValueError(), None)],
)
def test_errors_without_a_number_keep_their_name(error: Exception, name: str | None) -> None:
    assert class_of_same_name(error).__name__ == (name or "InterfaceError")
