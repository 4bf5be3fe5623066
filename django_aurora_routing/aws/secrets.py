"""Users and passwords from AWS Secrets Manager: one call, and what can be wrong with its answer."""

from __future__ import annotations

import json
from typing import Any

from ..core.logins import Issued, SecretLogin, Unavailable
from ..core.secret import Secret
from .sessions import client, explained


def fetch_secret(login: SecretLogin) -> Issued:
    """What the secret holds now. Raises Unavailable, with the reason and no part of the secret."""
    with explained(f"{login} cannot be had"):
        service = client("secretsmanager", profile=login.profile, region=login.region, endpoint=login.endpoint)
        try:
            answer = service.get_secret_value(SecretId=login.secret_id)
        finally:
            service.close()
    return _read(login, answer.get("SecretString"))


def _read(login: SecretLogin, text: Any) -> Issued:
    held: Any = None
    if isinstance(text, str):
        try:
            held = json.loads(text)
        except ValueError:  # its words would be parts of the secret
            held = None
    if not isinstance(held, dict):
        raise Unavailable(f"{login} is not a text that holds a JSON object")
    values = []
    for option, key in (
        ("secrets_manager_secret_username_key", login.username_key),
        ("secrets_manager_secret_password_key", login.password_key),
    ):
        value = held.get(key)
        if not isinstance(value, str) or not value:
            raise Unavailable(f"{login} has no text under {key!r}, the key that OPTIONS[{option!r}] names")
        values.append(value)
    return Issued(values[0], Secret(values[1]), login.lifetime)
