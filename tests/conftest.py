"""Fixtures for the whole suite. Real servers come from the lab's pytest plugin, started at first use only."""

import logging
import re
import signal

import pytest

from tests.backends.aws_services import FIRST, IDP_PASSWORD, LAB_SECRET, SECOND, SESSION_TOKEN, saml_response

# A shell that runs us in the background has SIGINT ignored, and what ignores it hands that on to its children; the
# tests send Ctrl-C to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["django_aurora_routing.lab.pytest_plugin"]


class SecretSearch(logging.Handler):
    """Looks through everything that the suite logs for what no log may hold: tokens, and the passwords of logins."""

    KNOWN = (FIRST, SECOND, IDP_PASSWORD, LAB_SECRET, SESSION_TOKEN, saml_response())
    SECRETS = re.compile("|".join(["X-Amz-Signature=[0-9a-f]{64}", *map(re.escape, KNOWN)]))

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # `exc_text` is what a formatter before us may have made of the traceback, and None without one.
        error = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        if self.SECRETS.search(f"{record.getMessage()}\n{record.exc_text}\n{error}"):
            self.found.append(f"{record.name}: {record.msg!r} ({record.pathname}:{record.lineno})")


_search = SecretSearch()
logging.getLogger().addHandler(_search)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _search.found and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for where in sorted(set(_search.found)):
        terminalreporter.write_line(f"FAILED: a secret was logged by {where}", red=True)
