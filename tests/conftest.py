"""Fixtures for the whole suite. Real servers come from the lab's pytest plugin, started at first use only."""

import logging
import re
import signal

import pytest

from tests.backends.aws_services import FIRST, IDP_PASSWORD, SECOND

# A shell that runs us in the background has SIGINT ignored, and what ignores it hands that on to its children; the
# tests send Ctrl-C to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["django_aurora_routing.lab.pytest_plugin"]


class SecretSearch(logging.Handler):
    """Looks through everything that the suite logs for what no log may hold: tokens, and the passwords of logins."""

    SECRETS = re.compile("|".join(["X-Amz-Signature=[0-9a-f]{64}", *map(re.escape, (FIRST, SECOND, IDP_PASSWORD))]))

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if self.SECRETS.search(record.getMessage() + (record.exc_text or "")):
            self.found.append(f"{record.name}: {record.msg!r} ({record.pathname}:{record.lineno})")


_search = SecretSearch()
logging.getLogger().addHandler(_search)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _search.found and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for where in sorted(set(_search.found)):
        terminalreporter.write_line(f"FAILED: a secret was logged by {where}", red=True)
