"""What searches the whole suite's log for secrets would find one, wherever in a record it is."""

from __future__ import annotations

import logging

import pytest

from tests.backends.aws_services import FIRST, LAB_SECRET, saml_response
from tests.conftest import SecretSearch


def logged(message: str, error: BaseException | None = None) -> list[str]:
    search = SecretSearch()
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    search.emit(logging.LogRecord("x", logging.DEBUG, "file.py", 1, "%s", (message,), exc_info))
    return search.found


@pytest.mark.parametrize("secret", [FIRST, LAB_SECRET, saml_response(), f"X-Amz-Signature={'0f' * 32}"])
def test_a_secret_is_found_in_words_and_in_tracebacks(secret: str) -> None:
    assert logged(f"<{secret}>")
    assert logged("it failed", RuntimeError(f"<{secret}>"))
    assert not logged("all is well", RuntimeError("nothing to be seen"))
