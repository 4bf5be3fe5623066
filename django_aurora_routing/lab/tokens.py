"""Judges RDS tokens as RDS does: what they say they are for, when they end, and whose signature they bear.

By the description of Signature Version 4, without an AWS package:
https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote

LONGEST_SECONDS = 900
_AHEAD_SECONDS = 300  # how far a signer's clock may be ahead
_ALGORITHM, _SERVICE = "AWS4-HMAC-SHA256", "rds-db"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """What AWS knows of an access key; a `session` token belongs to keys that end."""

    secret: str = field(repr=False)
    session: str = field(default="", repr=False)


@dataclass(slots=True)
class TokenCheck:
    """Whom a server lets in. `clock_ahead` and `longest` (seconds) can be changed while it runs."""

    region: str
    key: Callable[[str], AccessKey | None]
    clock_ahead: float = 0.0
    longest: float = LONGEST_SECONDS

    def problem(self, token: str, *, user: str, host: str, port: int) -> str:
        """Why the token opens nothing for this user at this address; nothing when it does."""
        netloc, slash, query = token.partition("/?")
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=False)
        given = dict(pairs)
        if not slash or len(given) != len(pairs) or given.get("X-Amz-Algorithm") != _ALGORITHM:
            return "not a token"
        if netloc.lower() != f"{host}:{port}":
            return f"signed for {netloc}"
        if (given.get("Action"), given.get("DBUser")) != ("connect", user):
            return f"signed for user {given.get('DBUser')!r}"
        scope = re.fullmatch(r"([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request", given.get("X-Amz-Credential", ""))
        if scope is None or scope[4] != _SERVICE:
            return "signed for another service"
        if scope[3] != self.region:
            return f"signed for region {scope[3]}"
        if problem := self._time_problem(given, scope[2]):
            return problem
        key = self.key(scope[1])
        if key is None or key.session != given.get("X-Amz-Security-Token", ""):
            return "the access key is not known"
        signature = given.pop("X-Amz-Signature", "")
        if not hmac.compare_digest(_signature(netloc, given, key, scope), signature):
            return "the signature is wrong"
        return ""

    def _time_problem(self, given: dict[str, str], day: str) -> str:
        signed_at, seconds = given.get("X-Amz-Date", ""), given.get("X-Amz-Expires", "")
        try:
            signed = calendar.timegm(time.strptime(signed_at, "%Y%m%dT%H%M%SZ"))
        except ValueError:
            return "no date"
        if not seconds.isdigit() or int(seconds) > LONGEST_SECONDS or not signed_at.startswith(day):
            return "the dates do not fit"
        now = time.time() + self.clock_ahead
        if signed > now + _AHEAD_SECONDS:
            return "signed in the future"
        if now > signed + min(int(seconds), self.longest):
            return "expired"
        return ""


def _signature(netloc: str, given: dict[str, str], key: AccessKey, scope: "re.Match[str]") -> str:
    query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(given.items()))
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f"GET\n/\n{query}\nhost:{netloc.lower()}\n\nhost\n{empty}"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{given['X-Amz-Date']}\n{scope[2]}/{scope[3]}/{_SERVICE}/aws4_request\n{hashed}"
    signing = f"AWS4{key.secret}".encode()
    for part in (scope[2], scope[3], _SERVICE, "aws4_request"):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    return hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
