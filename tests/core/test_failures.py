"""Failures: every code that means a lost connection, and those that do not."""

import pytest

from django_aurora_routing.core.failures import (
    ErrorFacts,
    Failure,
    classify_mysql,
    classify_postgresql,
    is_of_the_server,
)


@pytest.mark.parametrize(
    ("errno", "message", "failure"),
    [
        *((errno, "", Failure.LOST) for errno in (2006, 2012, 2013, 2026, 2027, 2055)),
        *((errno, "", Failure.LOST) for errno in (1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184)),
        *((errno, "", Failure.LOST) for errno in (1927, 3169, 4031)),
        (-1, "MySQL Connection not available", Failure.NEVER_SENT),
        (1290, "The MariaDB server is running with the --read-only option so it cannot execute", Failure.READ_ONLY),
        (1290, "The MySQL server is running with the --super-read-only option so it cannot", Failure.READ_ONLY),
        (1290, "The MySQL server is running with the --secure-file-priv option", Failure.STATEMENT),
        (1792, "Cannot execute statement in a READ ONLY transaction", Failure.READ_ONLY),
        (1836, "Running in read-only mode", Failure.READ_ONLY),
        *((errno, "", Failure.STATEMENT) for errno in (1062, 1064, 1205, 1213, 1317, 3024, 1969)),
        # The session goes on after them: an unknown command, too many users, a packet too large.
        *((errno, "", Failure.STATEMENT) for errno in (1047, 1203, 1226, 1153)),
        (None, "no number", Failure.STATEMENT),
    ],
)
def test_a_number_says_what_became_of_the_connection(errno: int, message: str, failure: Failure) -> None:
    assert classify_mysql(ErrorFacts(errno, message)) is failure


@pytest.mark.parametrize(
    ("errno", "failure"),
    [
        *((errno, Failure.UNREACHABLE) for errno in (2001, 2002, 2003, 2004, 2005, 2006, 2012, 2013, 2055, -1)),
        *((errno, Failure.UNREACHABLE) for errno in (1042, 1053, 1077, 1152, 1158, 4031)),
        *((errno, Failure.BUSY) for errno in (1040, 1129, 1203, 1226)),
        *((errno, Failure.REFUSED) for errno in (1045, 1044, 1049, 2059)),
        (2026, Failure.UNREACHABLE),
        (1064, Failure.STATEMENT),
    ],
)
def test_the_same_number_may_mean_something_else_while_connecting(errno: int, failure: Failure) -> None:
    assert classify_mysql(ErrorFacts(errno, ""), connecting=True) is failure


@pytest.mark.parametrize(
    ("errno", "message"),
    [
        (2026, "SSL connection error: certificate verify failed"),
        (2055, "Lost connection to MySQL server at 'db:3306', system error: Errno 1: [SSL: CERTIFICATE_VERIFY_FAILED]"),
    ],
)
def test_a_certificate_that_will_not_do_is_no_lost_connection(errno: int, message: str) -> None:
    assert classify_mysql(ErrorFacts(errno, message), connecting=True) is Failure.REFUSED


def test_a_timeout_of_the_client_leaves_the_stream_in_an_unknown_place() -> None:
    assert classify_mysql(ErrorFacts(3024, "", timed_out=True)) is Failure.LOST
    assert classify_mysql(ErrorFacts(3024, "Query execution was interrupted")) is Failure.STATEMENT


@pytest.mark.parametrize(("errno", "is_so"), [(1290, True), (1836, True), (1792, False)])
def test_a_write_may_be_refused_by_the_server_or_by_its_own_transaction(errno: int, is_so: bool) -> None:
    assert is_of_the_server(ErrorFacts(errno, "")) is is_so


@pytest.mark.parametrize(
    ("sqlstate", "running", "connecting"),
    [
        # By its class, which the AWS wrapper compares with the whole code and so never finds.
        *((code, Failure.LOST, Failure.UNREACHABLE) for code in ("08000", "08003", "08006", "08P01", "57P01", "57P02")),
        *((code, Failure.LOST, Failure.UNREACHABLE) for code in ("57P05", "25P03", "25P04")),
        # A server in trouble, and a session that goes on: a statement that needs less may succeed in it.
        *((code, Failure.STATEMENT, Failure.UNREACHABLE) for code in ("53100", "53200", "58030", "F0001", "XX001")),
        *((code, Failure.STATEMENT, Failure.BUSY) for code in ("08004", "53300", "57P03")),
        *((code, Failure.STATEMENT, Failure.REFUSED) for code in ("28000", "28P01", "3D000")),
        ("25006", Failure.READ_ONLY, Failure.READ_ONLY),
        # Of the same letters, and the statement's own: a cancelled one, an aborted transaction, a deadlock.
        *((code, Failure.STATEMENT, Failure.STATEMENT) for code in ("57014", "25P02", "25001", "40001", "40P01")),
        *(
            (code, Failure.STATEMENT, Failure.STATEMENT)
            for code in ("23505", "42601", "22012", "55P03", "P0001", "0A000")
        ),
        (None, Failure.LOST, Failure.UNREACHABLE),
    ],
)
def test_a_code_of_postgresql_counts_by_its_class(sqlstate: str | None, running: Failure, connecting: Failure) -> None:
    assert classify_postgresql(sqlstate, "ERROR") is running
    assert classify_postgresql(sqlstate, "FATAL", connecting=True) is connecting


@pytest.mark.parametrize("sqlstate", ["57P01", "53300", "53200", "XX000", "58030", "40001"])
@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
def test_what_is_fatal_to_postgresql_ends_the_session(sqlstate: str, severity: str) -> None:
    assert classify_postgresql(sqlstate, severity) is Failure.LOST
