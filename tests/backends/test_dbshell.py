"""`dbshell` with credentials that are fetched: through the environment, over TLS, and never on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.management import call_command
from django.db import connections

from django_aurora_routing.aws.sessions import silence
from django_aurora_routing.errors import LoginError
from django_aurora_routing.lab import LocalCluster
from django_aurora_routing.lab.login_proxy import LoginProxy
from tests.backends.aws_services import Relay
from tests.backends.conftest import DB_USER, ON_MYSQLCLIENT, REGION, Aliases, assert_nothing_shows, secrets_seen

pytestmark = pytest.mark.lab

# Stands for the program `mysql`: writes down what it was started with, and logs in by that.
MYSQL = """#!{python}
import json, os, sys
arguments = dict(a[2:].split("=", 1) for a in sys.argv[1:] if a.startswith("--") and "=" in a)
with open({told!r}, "w") as out:
    json.dump([sys.argv, os.environ.get("MYSQL_PWD"), os.environ.get("LIBMYSQL_ENABLE_CLEARTEXT_PLUGIN")], out)
import mysql.connector
connection = mysql.connector.connect(
    host=arguments["host"], port=int(arguments["port"]), user=arguments["user"], password=os.environ["MYSQL_PWD"],
    ssl_ca=arguments.get("ssl-ca"), use_pure=True,
    **({{"ssl_verify_cert": True, "ssl_verify_identity": True}} if "ssl-ca" in arguments else {{}}),
)
connection.close()
"""


class Shell:
    def __init__(self, place: Path) -> None:
        self._told = place / "told.json"
        program = place / "mysql"
        program.write_text(MYSQL.format(python=sys.executable, told=str(self._told)))
        program.chmod(0o755)

    def run(self, alias: str, *parameters: str) -> tuple[list[str], str, str | None]:
        call_command("dbshell", *(["--", *parameters] if parameters else []), database=alias)
        argv, password, cleartext = json.loads(self._told.read_text())
        return argv, password, cleartext


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return Shell(tmp_path)


def test_a_token_goes_through_the_environment(with_iam: Callable[..., str], door: LoginProxy, shell: Shell) -> None:
    alias = with_iam("with_token", plugins="iam")
    argv, password, cleartext = shell.run(alias, "--batch")
    assert door.problems == [""]
    assert password == door.attempts[0].token
    assert cleartext == "1"
    assert not any("X-Amz" in argument for argument in argv)
    assert {f"--user={DB_USER}", f"--ssl-ca={door.ca}", "app", "--batch"} <= set(argv)
    assert {"--loose-ssl-mode=VERIFY_IDENTITY", "--loose-ssl-verify-server-cert"} <= set(argv)
    assert "MYSQL_PWD" not in os.environ
    assert connections[alias].settings_dict["PASSWORD"] == ""


@pytest.mark.skipif(ON_MYSQLCLIENT, reason="mysqlclient says it by ssl_mode, as below")
def test_a_certificate_is_verified_by_both_programs_though_its_name_is_not(
    with_iam: Callable[..., str], shell: Shell
) -> None:
    """MariaDB's knows nothing of --ssl-mode, and does not verify unless it is told to, in the one way that it has."""
    argv, _, _ = shell.run(with_iam("with_token", plugins="iam", ssl_verify_identity=False))
    assert {"--loose-ssl-mode=VERIFY_CA", "--loose-ssl-verify-server-cert"} <= set(argv)


@pytest.mark.skipif(not ON_MYSQLCLIENT, reason="the connector has no ssl_mode")
def test_the_same_by_mysqlclients_name(with_iam: Callable[..., str], shell: Shell) -> None:
    argv, _, _ = shell.run(with_iam("with_token", plugins="iam", ssl_mode="VERIFY_CA"))
    assert {"--loose-ssl-mode=VERIFY_CA", "--loose-ssl-verify-server-cert"} <= set(argv)


def test_a_secret_goes_through_the_environment(
    aliases: Aliases, relay: Relay, aws: Callable[..., str], cluster: LocalCluster, shell: Shell
) -> None:
    client = boto3.client("secretsmanager", REGION, aws_access_key_id="x", aws_secret_access_key="x")
    with silence():
        held = json.dumps({"username": cluster.user, "password": cluster.password})
        client.create_secret(Name="shell", SecretString=held)
    secret = {"plugins": "aws_secrets_manager", "secrets_manager_secret_id": "shell", "aws_profile": aws()}
    argv, password, cleartext = shell.run(aliases.add("secret", **secret, region=REGION, USER="", PASSWORD=""))
    assert (password, cleartext) == (cluster.password, None)
    assert f"--user={cluster.user}" in argv
    assert not any(cluster.password in argument for argument in argv)


def test_no_credentials(with_iam: Callable[..., str], shell: Shell) -> None:
    with pytest.raises(LoginError, match="nobodys"):
        shell.run(with_iam("with_token", plugins="iam", aws_profile="nobodys"))


def test_a_password_of_the_settings_goes_as_with_django(aliases: Aliases, shell: Shell, cluster: Any) -> None:
    argv, password, cleartext = shell.run(aliases.add("plain"))
    assert (password, cleartext) == (cluster.password, None)
    assert not any(cluster.password in argument or "loose" in argument for argument in argv)


def test_a_shell_that_ends_badly(with_iam: Callable[..., str], door: LoginProxy, shell: Shell, tmp_path: Path) -> None:
    alias = with_iam("with_token", plugins="iam", iam_region="us-east-1")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        connections[alias].client.runshell([])
    assert "X-Amz" not in f"{failed.value} {failed.value.__dict__}"
    frames = traceback.TracebackException.from_exception(failed.value, capture_locals=True)
    assert_nothing_shows("".join(frames.format()), secrets_seen(door))


def test_a_shell_that_is_not_there(
    with_iam: Callable[..., str], door: LoginProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = with_iam("with_token", plugins="iam")
    connections[alias].ensure_connection()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError) as failed:
        connections[alias].client.runshell([])
    frames = traceback.TracebackException.from_exception(failed.value, capture_locals=True)
    assert_nothing_shows("".join(frames.format()), secrets_seen(door))
