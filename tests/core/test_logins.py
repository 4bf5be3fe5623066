"""What a login is read from, what it needs, and what a token is signed for."""

from __future__ import annotations

import pytest

from django_aurora_routing.core.endpoints import Address
from django_aurora_routing.core.logins import FederatedLogin, IamLogin, SecretLogin, Unavailable, signed_for
from django_aurora_routing.core.options import ParsedOptions, parse_options

CONNECTOR = {"ssl_ca", "ssl_disabled", "ssl_verify_cert", "ssl_verify_identity", "unix_socket", "user"}
RDS = "shop.cluster-abc123.eu-west-1.rds.amazonaws.com"
ROLE, PROVIDER = "arn:aws:iam::123456789012:role/db", "arn:aws:iam::123456789012:saml-provider/adfs"
FEDERATED = {
    "db_user": "ada",
    "idp_username": "ada@corp",
    "idp_password": "s3cr3t",
    "idp_endpoint": "adfs.corp.example",
    "iam_role_arn": ROLE,
    "iam_idp_arn": PROVIDER,
    "ssl_ca": "x",
}


def parse(host: str = RDS, user: str = "app", names: set[str] = CONNECTOR, **raw: object) -> ParsedOptions:
    return parse_options(raw, driver_names=names, host=host, user=user)


def problems(parsed: ParsedOptions) -> list[str]:
    return [str(problem) for problem in parsed.problems if problem.fatal]


def test_iam_by_the_incumbents_names_and_units() -> None:
    parsed = parse(plugins="iam", ssl_ca="rds.pem", iam_expiration=900, iam_default_port=3307, aws_profile="p")
    assert problems(parsed) == []
    assert parsed.options.login == IamLogin("app", "", "", 3307, 870.0, "p")
    assert dict(parsed.driver) == {"ssl_ca": "rds.pem", "ssl_verify_cert": True, "ssl_verify_identity": True}


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost", ""])
def test_a_host_that_leads_to_no_name_of_rds_needs_a_region(host: str) -> None:
    assert "OPTIONS['iam_region']: is needed" in problems(parse(host, plugins="iam", ssl_ca="x"))[0]


def test_a_cname_may_have_its_region_from_where_it_leads_or_from_any_of_three_options() -> None:
    parsed = parse("db.example.com", plugins="iam", ssl_ca="x")
    assert problems(parsed) == []
    assert isinstance(parsed.options.login, IamLogin)
    with pytest.raises(Unavailable, match="iam_region"):
        signed_for(parsed.options.login, Address("db.example.com"))
    for given in ({"iam_region": "eu-west-1"}, {"region": "eu-west-1"}, {"iam_host": RDS}):
        parsed = parse("db.example.com", plugins="iam", ssl_ca="x", **given)
        assert problems(parsed) == []
        assert isinstance(parsed.options.login, IamLogin)
        assert signed_for(parsed.options.login, Address("db.example.com")).region == "eu-west-1"


def test_mysqlclient_verifies_too() -> None:
    names = {"ssl", "ssl_mode"}
    parsed = parse(plugins="iam", names=names, ssl={"ca": "x"})
    assert dict(parsed.driver) == {"ssl": {"ca": "x"}, "ssl_mode": "VERIFY_IDENTITY"}
    assert "needs 'ca'" in problems(parse(plugins="iam", names=names))[0]
    file = parse(plugins="iam", names={*names, "read_default_file"}, ssl={"ca": "x"}, read_default_file="/etc/my.cnf")
    assert "OPTIONS['read_default_file']: cannot be used" in problems(file)[0]
    assert (
        "'REQUIRED' will not do" in problems(parse(plugins="iam", names=names, ssl={"ca": "x"}, ssl_mode="REQUIRED"))[0]
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"plugins": "iam"}, "OPTIONS['ssl_ca']: is needed"),
        ({"plugins": "iam", "ssl_ca": "x", "ssl_disabled": True}, "OPTIONS['ssl_disabled']"),
        ({"plugins": "iam", "ssl_ca": "x", "ssl_verify_cert": False}, "OPTIONS['ssl_verify_cert']"),
        ({"plugins": "iam", "ssl_ca": "x", "unix_socket": "/s"}, "OPTIONS['unix_socket']: cannot be used"),
        (
            {"plugins": "iam", "ssl_ca": "x", "topology-monitoring-ssl_verify_cert": False},
            "OPTIONS['topology-monitoring-ssl_verify_cert']: a token is sent as it is",
        ),
        (
            {"plugins": "iam", "ssl_ca": "x", "monitoring-ssl_disabled": True},
            "OPTIONS['monitoring-ssl_disabled']: a token is sent as it is",
        ),
        ({"plugins": "iam", "ssl_ca": "x", "monitoring-ssl_ca": ""}, "OPTIONS['monitoring-ssl_ca']: is needed"),
        (
            {"plugins": "iam", "ssl_ca": "x", "monitoring-unix_socket": "/s"},
            "OPTIONS['monitoring-unix_socket']: cannot be used",
        ),
        ({"plugins": "iam,aws_secrets_manager", "ssl_ca": "x"}, "are two ways to log in"),
        ({"plugins": "iam", "ssl_ca": "x", "iam_region": "Ireland"}, "'Ireland' is no region"),
        ({"plugins": "iam", "ssl_ca": "x", "iam_host": "a/b?c"}, "OPTIONS['iam_host']: 'a/b?c' is no name of a host"),
        ({"plugins": "iam", "ssl_ca": "x", "iam_default_port": 70000}, "from 1 to 65535"),
        ({"plugins": "aws_secrets_manager"}, "OPTIONS['secrets_manager_secret_id']: is needed"),
        (
            {"plugins": "aws_secrets_manager", "secrets_manager_secret_id": "s", "secrets_manager_endpoint": "x"},
            "is no ad",
        ),
        (
            {
                "plugins": "aws_secrets_manager",
                "secrets_manager_secret_id": "s",
                "secrets_manager_endpoint": "https://u:s3cr3t@x/y",
            },
            "OPTIONS['secrets_manager_endpoint']: is no address of a service",
        ),
        ({"plugins": "federated_auth", **FEDERATED, "idp_endpoint": "adfs/x"}, "OPTIONS['idp_endpoint']"),
        ({"plugins": "federated_auth", **FEDERATED, "idp_endpoint": ""}, "OPTIONS['idp_endpoint']: is needed"),
        ({"plugins": "federated_auth", **FEDERATED, "db_user": ""}, "OPTIONS['db_user']: is needed"),
        ({"plugins": "federated_auth", **FEDERATED, "idp_name": "ping"}, "OPTIONS['idp_name']: must be 'adfs'"),
        ({"plugins": "federated_auth", **FEDERATED, "ssl_secure": False}, "OPTIONS['ssl_secure']: cannot be False"),
        (
            {"plugins": "federated_auth", **FEDERATED, "iam_role_arn": "db"},
            "OPTIONS['iam_role_arn']: 'db' cannot be it",
        ),
        ({"plugins": "federated_auth", **FEDERATED, "idp_password": ""}, "OPTIONS['idp_password']: is needed"),
        ({"plugins": "okta", **FEDERATED}, "OPTIONS['app_id']: is needed"),
    ],
)
def test_what_is_missing_or_wrong_is_named(given: dict[str, object], words: str) -> None:
    said = problems(parse(**given))  # type: ignore[arg-type]
    assert any(words in problem for problem in said)
    assert "s3cr3t" not in f"{said}"


def test_a_user_is_needed_and_a_socket_will_not_do() -> None:
    assert "USER: is needed" in problems(parse(plugins="iam", user="", ssl_ca="x"))[0]
    (said,) = problems(parse("/tmp/mysql.sock", plugins="iam", ssl_ca="x", region="eu-west-1"))
    assert "HOST: '/tmp/mysql.sock' is no name of a host" in said

    for given in ({"iam_host": RDS}, {"iam_host": RDS, "region": "eu-west-1"}):
        (said,) = problems(parse("/tmp/mysql.sock", plugins="iam", ssl_ca="x", **given))
        assert "HOST: '/tmp/mysql.sock' is no name of a host" in said


@pytest.mark.parametrize("mode", ["DISABLED", "REQUIRED"])
def test_a_monitor_of_mysqlclient_with_the_aliass_token_verifies_too(mode: str) -> None:
    given = {"plugins": "iam", "ssl": {"ca": "x"}, "topology-monitoring-ssl_mode": mode}
    (said,) = problems(parse(names={"ssl", "ssl_mode"}, **given))  # type: ignore[arg-type]
    assert f"OPTIONS['topology-monitoring-ssl_mode']: '{mode}' will not do" in said


def test_a_monitors_own_tls_is_its_own_affair_when_it_has_an_account_of_its_own() -> None:
    own = {"monitoring-user": "w", "monitoring-ssl_disabled": True}
    assert problems(parse(plugins="iam", ssl_ca="x", **own)) == []


def test_none_in_a_monitors_options_takes_nothing_away() -> None:
    own = {"monitoring-ssl_verify_cert": None, "monitoring-ssl_ca": "y"}
    parsed = parse(plugins="iam", ssl_ca="x", **own)
    assert problems(parsed) == []
    assert dict(parsed.options.host_monitor_params) == {
        "ssl_ca": "y",
        "ssl_verify_cert": True,
        "ssl_verify_identity": True,
    }
    parsed = parse(plugins="iam", ssl_ca="x", **{"ssl_verify_identity": False, "monitoring-ssl_ca": "y"})
    assert parsed.options.host_monitor_params["ssl_verify_identity"] is False


@pytest.mark.parametrize(("given", "verified"), [(None, True), (0, True), (True, True), (False, False)])
def test_identity_is_verified_unless_it_is_false(given: object, verified: bool) -> None:
    assert parse(plugins="iam", ssl_ca="x", ssl_verify_identity=given).driver["ssl_verify_identity"] is verified


def test_a_secret_by_name_or_arn() -> None:
    arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:rds!cluster-1-AbCdEf"
    login = parse("localhost", plugins="aws_secrets_manager", secrets_manager_secret_id=arn).options.login
    assert isinstance(login, SecretLogin)
    assert (login.region, login.username_key, login.password_key) == ("us-west-2", "username", "password")
    login = parse(plugins="aws_secrets_manager", secrets_manager_secret_id="s").options.login
    assert isinstance(login, SecretLogin)
    assert login.region == "eu-west-1"
    nowhere = parse("localhost", plugins="aws_secrets_manager", secrets_manager_secret_id="s")
    assert "OPTIONS['secrets_manager_region']: is needed" in problems(nowhere)[0]
    for seconds, kept in ((300, 300.0), (-1, 31536000.0), (31536000, 31536000.0)):
        given = {"secrets_manager_secret_id": "s", "secrets_manager_expiration": seconds}
        login = parse(plugins="aws_secrets_manager", **given).options.login
        assert isinstance(login, SecretLogin)
        assert login.lifetime == kept


def test_a_federated_login_and_its_fall_back_to_the_settings_own_user() -> None:
    login = parse(plugins="okta", app_id="abc", **FEDERATED).options.login
    assert isinstance(login, FederatedLogin)
    assert (login.provider, login.party, login.port, login.timeout) == ("okta", "abc", 443, 60.0)
    assert "s3cr3t" not in repr(login)
    raw = {name: value for name, value in FEDERATED.items() if name not in ("idp_username", "idp_password")}
    raw |= {"plugins": "federated_auth"}
    login = parse_options(raw, driver_names=CONNECTOR, host=RDS, user="u", password="p").options.login
    assert isinstance(login, FederatedLogin)
    assert (login.username, login.password, login.party) == ("u", "p", "urn:amazon:webservices")


@pytest.mark.parametrize(
    ("login", "host", "signed"),
    [
        ({}, "Shop-1.ABC.eu-west-1.rds.amazonaws.com.", "shop-1.abc.eu-west-1.rds.amazonaws.com:3306 in eu-west-1"),
        ({"host": RDS}, "db.example.com", f"{RDS}:3306 in eu-west-1"),
        ({"host": RDS}, "127.0.0.1", f"{RDS}:3306 in eu-west-1"),
        ({"host": RDS}, "i.abc.us-east-1.rds.amazonaws.com", "i.abc.us-east-1.rds.amazonaws.com:3306 in us-east-1"),
        ({"region": "eu-west-2", "port": 1}, "127.0.0.1", "127.0.0.1:1 in eu-west-2"),
    ],
)
def test_what_a_token_is_signed_for(login: dict[str, object], host: str, signed: str) -> None:
    given = {"user": "u", "region": "", "host": "", "port": None, "lifetime": 1.0, "profile": None, **login}
    assert str(signed_for(IamLogin(**given), Address(host))) == signed  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["a/b", "a?b", "a@b", "a:1", "a b", "::1", "", ".", "-", "ä", "x" * 300, "%61"])
def test_a_hostile_name_is_signed_for_by_nobody(host: str) -> None:
    with pytest.raises(Unavailable, match="no name of a host"):
        signed_for(IamLogin("u", "eu-west-1", "", None, 1.0, None), Address(host))
