"""What a scope has written as a short signed text, for the next request of the same person or for a job."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from urllib.parse import quote, unquote

from django.core.signing import BadSignature, Signer, b62_decode, b62_encode

from ..conf import routing_settings
from .clusters import clusters
from .scopes import current_scope

LONGEST = 4000
"""What is longer, in characters, did not come from here: no browser keeps such a cookie."""


def token() -> str:
    """What the code that calls this has written, to be given to `apply_token()` elsewhere; "" for nothing.

    As MongoDB's sessions and Cloudflare's D1 have it: whoever gets the text reads what was written here. It is
    signed, readable by all, and holds the names of clusters and times, nothing else.
    """
    return dump_token(current_scope().commits())


def apply_token(text: str | None) -> None:
    """Read what the code that made this `token()` has written, for as long as readers may miss it.

    A text that is not such a token, or is too old, is ignored.
    """
    current_scope().adopt(load_token(text))


def dump_token(commits: Mapping[str, float]) -> str:
    """`Scope.commits()` as a text that is fit for cookies and headers; "" when no reader can miss any of it."""
    known = clusters().by_name
    parts = [
        f"{quote(name, safe='')}.{b62_encode(math.ceil(at * 1000))}"
        for name, at in sorted(commits.items())
        if name in known and known[name].readers
    ]
    return _signer().sign("!".join(parts)) if parts else ""


def load_token(text: str | None) -> dict[str, float]:
    """What `dump_token` was given, to a millisecond. Empty for everything that it did not make with our SECRET_KEY.

    Left out are clusters that we do not have, and times further than PIN_SECONDS from now, in the past or, where
    the clocks of two hosts differ, in the future: so a token is worth nothing after that time, whoever kept it.
    """
    if not text or len(text) > LONGEST:
        return {}
    known, now, limit = clusters().by_name, time.time(), routing_settings().pin_seconds
    commits = {}
    try:
        for part in _signer().unsign(text).split("!"):
            name, milliseconds = part.rsplit(".", 1)
            commits[unquote(name)] = b62_decode(milliseconds) / 1000
    except (BadSignature, ValueError, IndexError, OverflowError):
        return {}
    return {name: at for name, at in commits.items() if name in known and abs(now - at) < limit}


def _signer() -> Signer:
    return Signer(salt="django_aurora_routing.token")
