"""AWS credentials for a login at an identity provider: its SAML response, given to STS for those of a role."""

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ..core.logins import FederatedLogin, Keys, Unavailable
from ..core.secret import Secret
from .identity import saml_response
from .sessions import client, explained

_SHORTEST = 60.0  # seconds; less would have every connect ask anew


def assume_role(login: FederatedLogin) -> Keys:
    """The role's credentials, and how long they are good for. Raises Unavailable."""
    assertion = saml_response(login)
    with explained(f"{login.role_arn} cannot be assumed with the SAML response of {login.endpoint}"):
        service = client("sts", profile=login.token.profile, region=login.region, signs=False)
        try:
            answer = service.assume_role_with_saml(
                RoleArn=login.role_arn, PrincipalArn=login.idp_arn, SAMLAssertion=str.__str__(assertion)
            )
        finally:
            service.close()
    given = answer.get("Credentials", {})
    if not {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"} <= set(given):
        raise Unavailable(f"STS answered without credentials for {login.role_arn}; it may not have been AWS that did")
    return Keys(
        access_key=given["AccessKeyId"],
        secret_key=Secret(given["SecretAccessKey"]),
        session_token=Secret(given["SessionToken"]),
        lifetime=max(_SHORTEST, (given["Expiration"] - _now_at(answer)).total_seconds()),
    )


def _now_at(answer: Any) -> datetime.datetime:
    """The time by the clock of AWS, since the end of the credentials is by that one too."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return datetime.datetime.now(datetime.timezone.utc)
