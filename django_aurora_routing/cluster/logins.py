"""Which credentials the login of an alias's settings means; one object for all connections that log in alike."""

from __future__ import annotations

import time
from dataclasses import replace

from ..aws.saml import assume_role
from ..aws.secrets import fetch_secret
from ..aws.sessions import forget
from ..aws.tokens import issue_token
from ..core.endpoints import Address
from ..core.logins import FederatedLogin, IamLogin, Issued, Login, signed_for
from ..core.tls import CLEAR_TEXT
from .credentials import Credentials, Kept
from .names import Resolve, names_behind, rds_name_behind

_WITH_TOKEN = {"auth_plugin": CLEAR_TEXT}
_known: dict[Login, Credentials] = {}


def credentials_of(login: Login) -> Credentials:
    """The credentials for this login. What they keep, threads and aliases that log in alike share."""
    if (known := _known.get(login)) is None:
        known = _known.setdefault(login, _credentials(login))
    return known


def _credentials(login: Login) -> Credentials:
    if isinstance(login, IamLogin):
        return Credentials(
            str(login),
            lambda address: issue_token(login, signed_address(login, address)),
            key=lambda address: signed_for(login, signed_address(login, address)),
            arguments=_WITH_TOKEN,
            refused=lambda until: forget(login.profile),
        )
    if isinstance(login, FederatedLogin):
        return _federated(login)
    # A password is good until somebody changes it; when it is old, another is fetched beside the connections.
    return Credentials(str(login), lambda address: fetch_secret(login), key=lambda address: None, outlives=True)


def signed_address(login: IamLogin, address: Address, resolve: Resolve = names_behind) -> Address:
    """The address by the RDS name that it is to be signed by: the resolver is asked for what a CNAME leads to."""
    name = None if login.host else rds_name_behind(address.host, resolve)
    return address if name is None else Address(name.host, address.port)


def _federated(login: FederatedLogin) -> Credentials:
    """Tokens are signed here, by keys that the identity provider is asked for when they are about to end."""
    keys = Kept(f"the keys of {login.role_arn}", lambda: assume_role(login))

    def issue(address: Address) -> Issued:
        held = keys.get(time.monotonic() + login.timeout + _WITH_STS)
        target = signed_address(login.token, address)
        return issue_token(login.token, target, replace(held.value, lifetime=held.ends_at - time.monotonic()))

    return Credentials(
        str(login),
        issue,
        key=lambda address: signed_for(login.token, signed_address(login.token, address)),
        arguments=_WITH_TOKEN,
        refused=lambda until: keys.replace_if_older(_YOUNG, until),
    )


_YOUNG = 60.0  # seconds; a login at the provider a minute is enough, however many servers refuse
_WITH_STS = 30.0  # seconds that STS may take, its throttling included
