"""RDS tokens, signed by boto3's signer: no call goes over the network, but for what finding AWS credentials takes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from ..core.endpoints import Address
from ..core.logins import IamLogin, Issued, Keys, SignedFor, signed_for
from ..core.secret import Secret
from .sessions import credentials, explained

_SECONDS = 900


def issue_token(login: IamLogin, address: Address, keys: Keys | None = None) -> Issued:
    """A token for one user and address, by `keys` or by the login's profile. Raises Unavailable."""
    target = signed_for(login, address)
    with explained(f"No IAM token could be signed for {target}"):
        if keys is None:
            signing = credentials(login.profile)
        else:
            from botocore.credentials import Credentials

            signing = Credentials(keys.access_key, str(keys.secret_key), str(keys.session_token))
        token = _sign(signing, target, login.user)
    lifetime = login.lifetime if keys is None else min(login.lifetime, keys.lifetime)
    return Issued(login.user, token, lifetime)


def _sign(signing: Any, target: SignedFor, user: str) -> Secret:
    """What `generate_db_auth_token()` returns, without the second that a client of RDS takes to be made."""
    from botocore.hooks import HierarchicalEmitter
    from botocore.model import ServiceId
    from botocore.signers import RequestSigner

    emitter = HierarchicalEmitter()  # the signer holds it weakly
    signer = RequestSigner(ServiceId("rds-db"), target.region, "rds-db", "v4", signing, emitter)
    query = urlencode({"Action": "connect", "DBUser": user}, quote_via=quote)
    request = {
        "method": "GET",
        "url": f"https://{target.host}:{target.port}/?{query}",
        "body": {},
        "headers": {},
        "context": {},
    }
    url = signer.generate_presigned_url(
        request, operation_name="connect", region_name=target.region, expires_in=_SECONDS, signing_name="rds-db"
    )
    return Secret(url.removeprefix("https://"))
