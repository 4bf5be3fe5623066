"""What an alias logs in with instead of a password of its settings: read from OPTIONS, and what a token is signed for.

Values and decisions only; `aws/` fetches, `cluster/credentials` keeps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address

from .endpoints import Address, EndpointKind, parse_endpoint
from .secret import Secret

TOKEN_LIFETIME = 870.0
"""Seconds that a token is used for at the most; RDS takes it for 900."""

LOGIN_PLUGINS = ("iam", "aws_secrets_manager", "federated_auth", "okta")
TOKEN_PLUGINS = frozenset({"iam", "federated_auth", "okta"})
"""Those that log in by a token."""

Say = Callable[[str, str, str], None]
"""Takes down a problem: the setting, what is wrong with it, what to write instead."""


class Unavailable(Exception):
    """There are no credentials to be had; the text says why, and holds no secret."""


class Rejected(Unavailable):
    """The source knows the user and says no. To ask again with the same words may lock the account."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A user and a password, and for how many seconds from now on they are good."""

    user: str
    password: Secret
    lifetime: float


@dataclass(frozen=True, slots=True)
class Keys:
    """AWS credentials that end, and after how many seconds from now."""

    access_key: str = field(repr=False)
    secret_key: Secret
    session_token: Secret
    lifetime: float


@dataclass(frozen=True, slots=True)
class IamLogin:
    """An RDS token, signed for a user and an address. `host` and `port` are signed in the place of the address's."""

    user: str
    region: str
    host: str
    port: int | None
    lifetime: float
    profile: str | None

    def __str__(self) -> str:
        by = f"profile {self.profile!r}" if self.profile else "the AWS credentials that boto3 found"
        return f"an IAM token for {self.user!r} by {by}"


@dataclass(frozen=True, slots=True)
class SecretLogin:
    """User and password as AWS Secrets Manager has them."""

    secret_id: str
    region: str
    endpoint: str | None
    username_key: str
    password_key: str
    lifetime: float
    profile: str | None

    def __str__(self) -> str:
        return f"the secret {self.secret_id!r} of region {self.region}"


@dataclass(frozen=True, slots=True)
class FederatedLogin:
    """A token signed with what AWS gives for a login at an identity provider, `adfs` or `okta`."""

    token: IamLogin
    provider: str
    username: str
    password: Secret
    endpoint: str
    port: int
    party: str  # the relying party at ADFS, the application's id at Okta
    region: str  # whose STS is asked
    role_arn: str
    idp_arn: str
    timeout: float

    def __str__(self) -> str:
        return f"an IAM token for {self.token.user!r}, by role {self.role_arn} for {self.username!r} at {self.endpoint}"


Login = IamLogin | SecretLogin | FederatedLogin


@dataclass(frozen=True, slots=True)
class SignedFor:
    """What a token says it is for, besides its user."""

    host: str
    port: int
    region: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port} in {self.region}"


def signed_for(login: IamLogin, address: Address) -> SignedFor:
    """What a token for this address is signed for. Raises Unavailable for an address that none can be signed for.

    RDS takes a token only for one of its own names, so `host` stands for every address that has no such name.
    """
    endpoint = parse_endpoint(address.host)
    host = endpoint.host if endpoint.region or not login.host else parse_endpoint(login.host).host
    if not is_host_name(host):
        raise Unavailable(f"no token can be signed for {host!r}, which is no name of a host")
    region = login.region or endpoint.region or parse_endpoint(login.host).region
    if not region:
        raise Unavailable(f"{host!r} neither says its region nor leads to a name that does; set OPTIONS['iam_region']")
    return SignedFor(host, login.port or address.port, region)


def is_host_name(text: str) -> bool:
    """Whether it is a name, or an IPv4 address: nothing that could end the host's part of a URL, or add to it."""
    try:
        return isinstance(ip_address(text), IPv4Address)
    except ValueError:
        return len(text) <= 253 and re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", text) is not None


def may_lead_to_rds(host: str) -> bool:
    """Whether it is a name of somebody's own, behind which DNS may have an RDS name, or a global database's."""
    kind = parse_endpoint(host).kind
    return kind in (EndpointKind.OTHER, EndpointKind.GLOBAL) and "." in host and not host.startswith("/")


_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
_SECRET_ARN = re.compile(r"arn:[^:]+:secretsmanager:(?P<region>[^:]+):[0-9]*:secret:.+")
_ROLE_ARN = re.compile(r"arn:[^:]+:iam::[0-9]{12}:role/.+")
_PROVIDER_ARN = re.compile(r"arn:[^:]+:iam::[0-9]{12}:saml-provider/.+")


def read_login(
    plugins: tuple[str, ...], of: Callable[[str], object], *, host: str, user: str, password: str, say: Say
) -> Login | None:
    """The login that the plugins ask for; None for a password of the settings, or when something is wrong with it.

    `of` gives an option by its name, checked and in our units.
    """
    chosen = [name for name in plugins if name in LOGIN_PLUGINS]
    if not chosen:
        return None
    if len(chosen) > 1:
        say("OPTIONS['plugins']", f"{' and '.join(map(repr, chosen))} are two ways to log in.", "Keep one of them.")
        return None
    problems: list[None] = []

    def complain(setting: str, message: str, hint: str) -> None:
        problems.append(None)
        say(setting, message, hint)

    reader = _Reader(chosen[0], of, host, user, password, complain)
    read: Mapping[str, Callable[[], Login]] = {
        "iam": lambda: reader.iam(user, "USER", "iam_expiration"),
        "aws_secrets_manager": reader.secret,
        "federated_auth": reader.federated,
        "okta": reader.federated,
    }
    login = read[chosen[0]]()
    return None if problems else login


@dataclass(frozen=True, slots=True)
class _Reader:
    plugin: str
    of: Callable[[str], object]
    host: str
    user: str
    password: str
    say: Say

    def text(self, name: str) -> str:
        value = self.of(name)
        return "" if value is None else str(value).strip()

    def number(self, name: str) -> float:
        return float(self.of(name))  # type: ignore[arg-type]

    def needed(self, name: str, hint: str) -> str:
        if not (text := self.text(name)):
            self.say(f"OPTIONS[{name!r}]", f"is needed by the plugin {self.plugin!r}.", hint)
        return text

    def region(self, *names: str, is_told: bool) -> str:
        """The first of these options that is set; none is needed where a name tells the region."""
        for name in (*names, "region"):
            if region := self.text(name):
                if not _REGION.fullmatch(region):
                    self.say(f"OPTIONS[{name!r}]", f"{region!r} is no region.", "Write it as in 'eu-west-1'.")
                return region
        if not is_told:
            self.say(
                f"OPTIONS[{names[0]!r}]", f"is needed by the plugin {self.plugin!r}: no name tells the region.", ""
            )
        return ""

    def host_name(self, name: str, text: str) -> str:
        if text and not is_host_name(text):
            self.say(name, f"{text!r} is no name of a host.", "Write the name alone, as in 'db.example.com'.")
        return text

    def iam(self, user: str, setting: str, lifetime: str) -> IamLogin:
        if not user:
            self.say(setting, f"is needed by the plugin {self.plugin!r}.", "Name the user of the database.")
        host = self.host_name("OPTIONS['iam_host']", self.text("iam_host"))
        if not host or self.host.startswith("/"):  # a socket's path, over which there is no TLS to speak of
            self.host_name("HOST", parse_endpoint(self.host).host)
        said = parse_endpoint(self.host).region or parse_endpoint(host).region
        is_told_later = self.plugin == "iam" and not host and may_lead_to_rds(self.host)
        port = self.of("iam_default_port")
        return IamLogin(
            user=user,
            region=self.region("iam_region", is_told=bool(said) or is_told_later),
            host=host,
            port=None if port is None else int(str(port).partition(".")[0]),
            lifetime=min(self.number(lifetime), TOKEN_LIFETIME),
            profile=self.text("aws_profile") or None,
        )

    def secret(self) -> SecretLogin:
        secret_id = self.needed("secrets_manager_secret_id", "Write the secret's name or ARN.")
        arn = _SECRET_ARN.fullmatch(secret_id)
        said = arn["region"] if arn else parse_endpoint(self.host).region
        endpoint = self.text("secrets_manager_endpoint") or None
        if endpoint is not None and not re.fullmatch(r"https?://[^/?#@\s]+/?", endpoint):
            self.say(
                "OPTIONS['secrets_manager_endpoint']",
                "is no address of a service.",
                "Write it as in 'https://secretsmanager.eu-west-1.amazonaws.com'.",
            )
        lifetime = self.number("secrets_manager_expiration")
        return SecretLogin(
            secret_id=secret_id,
            region=self.region("secrets_manager_region", is_told=bool(said)) or said,
            endpoint=endpoint,
            username_key=self.text("secrets_manager_secret_username_key"),
            password_key=self.text("secrets_manager_secret_password_key"),
            lifetime=lifetime if lifetime > 0 else float(YEAR),
            profile=self.text("aws_profile") or None,
        )

    def federated(self) -> FederatedLogin:
        is_okta = self.plugin == "okta"
        if not is_okta and self.text("idp_name").lower() not in ("", "adfs"):
            self.say("OPTIONS['idp_name']", "must be 'adfs'.", "For Okta there is the plugin 'okta'.")
        if self.of("ssl_secure") is False:
            self.say(
                "OPTIONS['ssl_secure']",
                "cannot be False: a password goes to the identity provider.",
                "For an authority of your own, name its certificates in the environment variable SSL_CERT_FILE.",
            )
        username, password = self.text("idp_username") or self.user, str(self.of("idp_password") or self.password)
        for name, value in (("idp_username", username), ("idp_password", password)):
            if not value:
                self.say(f"OPTIONS[{name!r}]", f"is needed by the plugin {self.plugin!r}.", "")
        role, provider = self.needed("iam_role_arn", ""), self.needed("iam_idp_arn", "")
        for name, arn, shape in (("iam_role_arn", role, _ROLE_ARN), ("iam_idp_arn", provider, _PROVIDER_ARN)):
            if arn and not shape.fullmatch(arn):
                kind = "role/..." if shape is _ROLE_ARN else "saml-provider/..."
                self.say(f"OPTIONS[{name!r}]", f"{arn!r} cannot be it.", f"Write 'arn:aws:iam::123456789012:{kind}'.")
        hint = "Write the provider's host name."
        token = self.iam(self.text("db_user"), "OPTIONS['db_user']", "iam_token_expiration")
        app = self.needed("app_id", "Write the id of the AWS application at Okta.") if is_okta else ""
        return FederatedLogin(
            token=token,
            provider="okta" if is_okta else "adfs",
            username=username,
            password=Secret(password),
            endpoint=self.host_name("OPTIONS['idp_endpoint']", self.needed("idp_endpoint", hint)),
            port=int(self.number("idp_port")),
            party=app or self.text("rp_identifier"),
            region=token.region or parse_endpoint(self.host).region or parse_endpoint(token.host).region,
            role_arn=role,
            idp_arn=provider,
            timeout=self.number("http_request_connect_timeout"),
        )


YEAR = 365 * 24 * 3600
