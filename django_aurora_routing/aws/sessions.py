"""AWS credentials by boto3's own chain, its clients, and silence about what they hold; imports boto3 at first use."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

from ..core.logins import Unavailable
from ..forks import in_each_child

# Where a call of ours is under way, botocore says nothing below a warning: at DEBUG it logs what it signs, with the
# signature, and every answer as it came, secrets included.
_is_silent: contextvars.ContextVar[bool] = contextvars.ContextVar("aurora_aws_is_silent", default=False)
_LOGGERS = ("boto3", "botocore", "s3transfer", "urllib3")

_lock = threading.Lock()
# Each with a lock, held while boto3 asks somebody. By process as well: what a fork copied may be locked for ever.
_sessions: dict[tuple[int, str | None], tuple[Any, threading.Lock]] = {}
_CONNECT_SECONDS, _READ_SECONDS = 3, 5


def _is_heard(record: logging.LogRecord) -> bool:
    return not _is_silent.get() or record.levelno >= logging.WARNING


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what the AWS packages do in this block, in this thread, out of all logs."""
    import boto3  # noqa: F401 - it makes its loggers, and those of all that it uses

    # A filter holds for its own logger alone, not for those below it. Nothing is added twice.
    for name in tuple(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LOGGERS:
            logging.getLogger(name).addFilter(_is_heard)
    token = _is_silent.set(True)
    try:
        yield
    finally:
        _is_silent.reset(token)


def _session(profile: str | None) -> tuple[Any, threading.Lock]:
    import boto3

    key = (os.getpid(), profile)
    if (known := _sessions.get(key)) is not None:
        return known
    made = boto3.Session(profile_name=profile), threading.Lock()
    with _lock:
        return _sessions.setdefault(key, made)


def forget(profile: str | None) -> None:
    """What was made with this profile's credentials is refused: read them anew the next time, they may be others."""
    with _lock:
        _sessions.pop((os.getpid(), profile), None)


def credentials(profile: str | None) -> Any:
    """What boto3 finds for this profile: environment, files, roles, web identity, container, instance. Thread-safe.

    Raises Unavailable when it finds none.
    """
    session, lock = _session(profile)
    with lock:  # the first call looks for them
        found = session.get_credentials()
    if found is None:
        raise Unavailable(
            "boto3 finds no AWS credentials (it looked at the environment, "
            f"{f'profile {profile!r}' if profile else 'the default profile'}, and the roles of container and instance)"
        )
    return found


def client(service: str, *, profile: str | None, region: str, endpoint: str | None = None, signs: bool = True) -> Any:
    """A client for one call. Made anew each time, for these calls are hours apart and a fork may lie between."""
    from botocore import UNSIGNED
    from botocore.config import Config

    limits: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        "retries": {"mode": "standard", "total_max_attempts": 3},  # a throttled call is made again
    }
    if not signs:
        limits["signature_version"] = UNSIGNED
    session, lock = _session(profile)
    with lock:  # to make a client is not thread-safe
        return session.client(service, region_name=region, endpoint_url=endpoint, config=Config(**limits))


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise Unavailable in the place of an error of boto3's, with its words.

    The frames of its error hold requests and answers, which error pages would show. So of an Unavailable the words
    alone go any further than the thread that fetches.
    """
    try:
        with silence():
            yield
    except Unavailable:
        raise
    except Exception as exc:  # noqa: BLE001 - of whatever boto3 raises, who waits must hear
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(exc, (BotoCoreError, ClientError)):
            raise Unavailable(f"{what}: {exc}") from None
        # Of an answer that it does not understand; its words are that answer, or parts of it.
        said = f"boto3 could not read the answer ({type(exc).__name__}), which may not have been AWS's"
        raise Unavailable(f"{what}: {said}") from None


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


in_each_child(_after_fork_in_child)
