"""The pages of identity providers: how ADFS and Okta turn a user's name and password into a SAML response.

Over HTTPS with verified certificates, within one time limit, and with no part of a secret in any error.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.request
from collections.abc import Mapping
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ..core.logins import FederatedLogin, Rejected, Unavailable
from ..core.secret import Secret

_LONGEST_PAGE = 2_000_000  # bytes
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


def saml_response(login: FederatedLogin) -> Secret:
    """Log in at the provider; returns its SAML response, as base64 text. Raises Unavailable, or Rejected."""
    browser = _Browser(login)
    return _okta(login, browser) if login.provider == "okta" else _adfs(login, browser)


def _adfs(login: FederatedLogin, browser: _Browser) -> Secret:
    """The page of an IdP-initiated sign-on: fill in its form, and read the response out of the page that comes."""
    start = f"{browser.origin}/adfs/ls/IdpInitiatedSignOn.aspx?loginToRp={quote(login.party, safe='')}"
    at, page = browser.open(start)
    form = next((form for form in _forms(page) if any("password" in name.lower() for name in form.fields)), None)
    if form is None:
        raise Unavailable(f"{login.endpoint} showed no form for a user and a password at /adfs/ls/")
    fields = dict(form.fields)
    for name in fields:
        if "username" in name.lower():
            fields[name] = login.username
        elif "password" in name.lower():
            fields[name] = str(login.password)
    target = urljoin(at, form.action)
    if not target.startswith(f"{browser.origin}/"):
        raise Unavailable(f"the form at {login.endpoint} would have sent the password elsewhere")
    _, page = browser.open(target, urlencode(fields).encode(), _FORM)
    return _response_in(page, login)


def _okta(login: FederatedLogin, browser: _Browser) -> Secret:
    """Okta's authentication API gives a session token, and its AWS application a SAML response for that."""
    body = json.dumps({"username": login.username, "password": str(login.password)}).encode()
    _, answer = browser.open(f"{browser.origin}/api/v1/authn", body, _JSON)
    said = _json_object(answer)
    status, token = said.get("status"), said.get("sessionToken")
    if status != "SUCCESS" or not isinstance(token, str):
        state = status if isinstance(status, str) and status.isupper() and len(status) < 40 else "no session"
        raise Rejected(f"{login.endpoint} did not log {login.username!r} in: {state}")
    app = quote(login.party, safe="")
    _, page = browser.open(f"{browser.origin}/app/amazon_aws/{app}/sso/saml?onetimetoken={quote(token, safe='')}")
    return _response_in(page, login)


def _response_in(page: str, login: FederatedLogin) -> Secret:
    for form in _forms(page):
        if response := form.fields.get("SAMLResponse"):
            return Secret(response)
    raise Rejected(
        f"{login.endpoint} did not answer with a SAML response: it refused {login.username!r} or the password, does "
        f"not know {login.party!r}, or asks for one more step"
    )


class _Browser:
    """Fetches pages of one provider, with its cookies, until its time is up."""

    def __init__(self, login: FederatedLogin) -> None:
        self._login = login
        self._until = time.monotonic() + login.timeout
        host = login.endpoint.rstrip(".").lower()
        self.origin = f"https://{host}" if login.port == 443 else f"https://{host}:{login.port}"
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            urllib.request.HTTPCookieProcessor(CookieJar()),
            _StaysHere(self.origin),
        )

    def open(self, url: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> tuple[str, str]:
        """GET, or POST a body; returns where that led to, and the text. Raises Unavailable."""
        where, kind = urlsplit(url).path, Unavailable
        try:
            request = urllib.request.Request(url, data=body, headers=dict(headers))
            with self._opener.open(request, timeout=self._left()) as answer:
                return answer.geturl(), self._read(answer)
        except HTTPError as exc:
            reason = f"status {exc.code}{_summary(exc)}"
            exc.close()
            kind = Rejected if exc.code in (401, 403) else Unavailable
        except (OSError, http.client.HTTPException, ValueError) as exc:
            reason = str(getattr(exc, "reason", exc)) or type(exc).__name__
        raise kind(f"{self._login.endpoint}{where}: {reason}")

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"not done in {self._login.timeout:g} s")
        return left

    def _read(self, answer: Any) -> str:
        """Read piece by piece: the socket's own limit begins anew with each."""
        pieces, size = [], 0
        while piece := answer.read1(65536):
            pieces.append(piece)
            size += len(piece)
            if size > _LONGEST_PAGE:
                raise ValueError("the page has no end")
            self._left()
        return b"".join(pieces).decode(answer.headers.get_content_charset() or "utf-8", "replace")


class _StaysHere(urllib.request.HTTPRedirectHandler):
    """Follows a redirect within the provider's own origin."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith(f"{self._origin}/"):
            raise ValueError("it leads to another server")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _summary(error: HTTPError) -> str:
    """What Okta says of an error, in a few words of its own."""
    try:
        said = _json_object(error.read(65536).decode("utf-8", "replace")).get("errorSummary")
    except (OSError, http.client.HTTPException):
        return ""
    return f", {said[:200]!r}" if isinstance(said, str) else ""


def _json_object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


class _Form:
    def __init__(self, action: str) -> None:
        self.action = action
        self.fields: dict[str, str] = {}


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[_Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(_Form(given.get("action", "")))
        elif tag == "input" and self.forms and given.get("name"):
            is_choice = given.get("type", "").lower() in ("checkbox", "radio") and "checked" not in given
            if not is_choice and given.get("type", "").lower() != "submit":
                self.forms[-1].fields[given["name"]] = given.get("value", "")

    handle_startendtag = handle_starttag


def _forms(page: str) -> list[_Form]:
    reader = _FormReader()
    reader.feed(page)
    reader.close()
    return reader.forms
