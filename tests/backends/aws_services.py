"""What stands for AWS and for identity providers in the tests of logins: on loopback, each with what can go wrong."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from django_aurora_routing.lab.tokens import AccessKey

Answer = tuple[int, Mapping[str, str], bytes]
ROLE, PROVIDER = "arn:aws:iam::123456789012:role/db", "arn:aws:iam::123456789012:saml-provider/corp"
FIRST, SECOND = "first-password-nobody-sees", "second-password-nobody-sees"
LAB_SECRET = "lab/secret+key-that-must-not-be-shown"
SESSION_TOKEN = "20111-one-time"
IDP_USER, IDP_PASSWORD = "ada@corp.example", "the-idp's <password> & more"


class Service:
    """An HTTP server that answers by `answer(method, path, body)`; `certificate` makes it an HTTPS one."""

    def __init__(
        self, answer: Callable[[BaseHTTPRequestHandler, bytes], Answer], certificate: Path | None = None
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, headers, body = answer(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Relay:
    """Stands before moto's server: counts the calls of each operation, can throttle them, and can be out."""

    def __init__(self, port: int) -> None:
        self.calls: list[str] = []
        self.throttled = 0  # so many calls from now on
        self.is_out = False
        self.another = b""  # what is answered then: not by AWS, but by something on the way
        self._port = port
        self._service = Service(self._answer)
        self.url = f"http://127.0.0.1:{self._service.port}"

    def close(self) -> None:
        self._service.close()

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        operation = request.headers.get("X-Amz-Target", "") or dict(parse_qsl(body.decode())).get("Action", "")
        self.calls.append(operation.rpartition(".")[2])
        if self.is_out:
            return (200, {}, self.another) if self.another else (503, {}, b"")
        if self.throttled > 0:
            self.throttled -= 1
            if "X-Amz-Target" not in request.headers:  # STS speaks XML
                xml = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>"
                return 400, {"Content-Type": "text/xml"}, xml.encode()
            error = {"__type": "ThrottlingException", "message": "Rate exceeded"}
            return 400, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(error).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request(request.command, request.path, body, dict(request.headers))
            answer = connection.getresponse()
            return answer.status, {"Content-Type": answer.headers.get("Content-Type", "")}, answer.read()
        finally:
            connection.close()


class RdsApi:
    """The one call of the RDS API that the backend makes: which members custom endpoints have. moto has none."""

    def __init__(self) -> None:
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.calls: list[float] = []
        self.is_out = False
        self._service = Service(self._answer)
        self.url = f"http://127.0.0.1:{self._service.port}"

    def close(self) -> None:
        self._service.close()

    def put(self, host: str, *, kind: str = "ANY", static: Sequence[str] = (), excluded: Sequence[str] = ()) -> None:
        name = host.partition(".")[0]
        self.endpoints[name] = {"host": host, "kind": kind, "static": static, "excluded": excluded}

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        self.calls.append(time.monotonic())
        asked = dict(parse_qsl(body.decode()))
        assert asked["Action"] == "DescribeDBClusterEndpoints"
        xml = {"Content-Type": "text/xml"}
        if self.is_out:
            error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code></Error></ErrorResponse>"
            return 403, xml, error.encode()
        found = self.endpoints.get(asked["DBClusterEndpointIdentifier"])
        listed = "" if found is None else _endpoint_as_xml(asked["DBClusterEndpointIdentifier"], found)
        return (
            200,
            xml,
            (
                '<DescribeDBClusterEndpointsResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">'
                f"<DescribeDBClusterEndpointsResult><DBClusterEndpoints>{listed}</DBClusterEndpoints>"
                "</DescribeDBClusterEndpointsResult></DescribeDBClusterEndpointsResponse>"
            ).encode(),
        )


def _endpoint_as_xml(name: str, found: Mapping[str, Any]) -> str:
    static, excluded = ("".join(f"<member>{one}</member>" for one in found[key]) for key in ("static", "excluded"))
    return (
        f"<DBClusterEndpointList><DBClusterEndpointIdentifier>{name}</DBClusterEndpointIdentifier>"
        f"<Endpoint>{found['host']}</Endpoint><Status>available</Status><EndpointType>CUSTOM</EndpointType>"
        f"<CustomEndpointType>{found['kind']}</CustomEndpointType><StaticMembers>{static}</StaticMembers>"
        f"<ExcludedMembers>{excluded}</ExcludedMembers></DBClusterEndpointList>"
    )


def saml_response(role: str = f"{ROLE},{PROVIDER}") -> str:
    attributes = {"RoleSessionName": IDP_USER, "Role": role, "SessionDuration": "3600"}
    told = "".join(
        f'<Attribute Name="https://aws.amazon.com/SAML/Attributes/{name}">'
        f"<AttributeValue>{value}</AttributeValue></Attribute>"
        for name, value in attributes.items()
    )
    text = (
        '<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol">'
        '<Assertion xmlns="urn:oasis:names:tc:SAML:2.0:assertion">'
        f"<AttributeStatement>{told}</AttributeStatement></Assertion></samlp:Response>"
    )
    return base64.b64encode(text.encode()).decode()


class IdentityProvider:
    """ADFS and Okta, as their pages and their API are documented; `trouble` names what is wrong with it today."""

    def __init__(self, certificate: Path) -> None:
        self.logins = 0
        self.trouble = ""
        self.seen: list[str] = []
        self._service = Service(self._answer, certificate)
        self.port = self._service.port

    def close(self) -> None:
        self._service.close()

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        url = urlsplit(request.path)
        self.seen.append(f"{request.command} {request.path}")
        if self.trouble == "hangs":
            threading.Event().wait(5)
        if self.trouble == "busy":
            return 429, {}, json.dumps({"errorSummary": "API call exceeded rate limit"}).encode()
        if url.path.startswith("/adfs/ls/"):
            return self._adfs(request, parse_qs(url.query), body)
        return self._okta(url.path, parse_qs(url.query), body)

    def _adfs(self, request: BaseHTTPRequestHandler, query: dict[str, list[str]], body: bytes) -> Answer:
        html = {"Content-Type": "text/html; charset=utf-8"}
        if request.command == "GET":
            assert query["loginToRp"] == ["urn:amazon:webservices"]
            action = "https://evil.example/steal" if self.trouble == "elsewhere" else request.path
            page = f"""<!DOCTYPE html><html><body>
              <form method="post" id="options" action="/adfs/ls/?o=1"><input type="hidden" name="selected"/></form>
              <form method="post" id="loginForm" autocomplete="off" novalidate="novalidate" action="{escape(action)}">
              <input id="userNameInput" name="UserName" type="email" value="" tabindex="1" class="text fullWidth"/>
              <input id="passwordInput" name="Password" type="password" tabindex="2" class="text fullWidth">
              <input id="kmsiInput" type="checkbox" name="Kmsi" value="true" tabindex="3" />
              <input id="optionForms" type="hidden" name="AuthMethod" value="FormsAuthentication"/>
              </form></body></html>"""
            return 200, {**html, "Set-Cookie": "MSISSamlRequest=abc; path=/adfs; HttpOnly; Secure"}, page.encode()
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        right = {"UserName": IDP_USER, "Password": IDP_PASSWORD, "AuthMethod": "FormsAuthentication"}
        if fields != right or "MSISSamlRequest=abc" not in request.headers.get("Cookie", ""):
            return 200, html, b'<form id="loginForm"><span id="errorText">Incorrect user ID or password.</span></form>'
        self.logins += 1
        response = escape(saml_response())
        page = f"""<html><body><form method="POST" name="hiddenform" action="https://signin.aws.amazon.com:443/saml">
          <input type="hidden" name="SAMLResponse" value="{response}" /><noscript><p>Script is disabled.</p>
          <input type="submit" value="Submit" /></noscript></form></body></html>"""
        return 200, html, page.encode()

    def _okta(self, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        if path == "/api/v1/authn":
            if json.loads(body) != {"username": IDP_USER, "password": IDP_PASSWORD}:
                return 401, {}, json.dumps({"errorCode": "E0000004", "errorSummary": "Authentication failed"}).encode()
            if self.trouble == "one more step":
                return 200, {}, json.dumps({"status": "MFA_REQUIRED", "stateToken": "00x"}).encode()
            self.logins += 1
            return 200, {}, json.dumps({"status": "SUCCESS", "sessionToken": SESSION_TOKEN}).encode()
        if path != "/app/amazon_aws/abc123/sso/saml" or query.get("onetimetoken") != [SESSION_TOKEN]:
            return 404, {}, b"<html>no such application</html>"
        response = saml_response().replace("+", "&#x2b;").replace("=", "&#x3d;")
        page = f"""<form id="appForm" action="https&#x3a;&#x2f;&#x2f;signin.aws.amazon.com&#x2f;saml" method="POST">
          <input name="SAMLResponse" type="hidden" value="{response}"/>
          <input name="RelayState" type="hidden" value=""/></form>"""
        return 200, {"Content-Type": "text/html;charset=utf-8"}, page.encode()


class Metadata:
    """The metadata of an instance (version 2) and of a container, with the keys of its role."""

    def __init__(self, key: str, secret: str) -> None:
        self._keys = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": "of-the-role"}
        self.seen: list[str] = []
        self._service = Service(self._answer)
        self.url = f"http://127.0.0.1:{self._service.port}"

    def close(self) -> None:
        self._service.close()

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        self.seen.append(request.path)
        if request.path == "/latest/api/token":
            return 200, {}, b"a-token"
        if request.path == "/latest/meta-data/iam/security-credentials/":
            return 200, {}, b"a-role"
        end = (datetime.now(timezone.utc) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 200, {}, json.dumps({"Code": "Success", "Expiration": end, **self._keys}).encode()


class Zones:
    """What RDS tells of instances, by id; moto takes no ids that are numbers, as those of the lab are."""

    def __init__(self, zones: Mapping[str, str]) -> None:
        self.calls = 0
        self.is_out = False
        self._zones = zones
        self._service = Service(self._answer)
        self.url = f"http://127.0.0.1:{self._service.port}"

    def close(self) -> None:
        self._service.close()

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        self.calls += 1
        asked = dict(parse_qsl(body.decode()))
        xml = {"Content-Type": "text/xml"}
        if self.is_out:
            error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code></Error></ErrorResponse>"
            return 403, xml, error.encode()
        assert (asked["Action"], asked["Filters.Filter.1.Name"]) == ("DescribeDBInstances", "db-instance-id")
        listed = "".join(
            f"<DBInstance><DBInstanceIdentifier>{name}</DBInstanceIdentifier>"
            f"<AvailabilityZone>{self._zones[name]}</AvailabilityZone></DBInstance>"
            for key, name in asked.items()
            if key.startswith("Filters.Filter.1.Values.Value.")
        )
        text = (
            '<DescribeDBInstancesResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><DescribeDBInstancesResult>'
            f"<DBInstances>{listed}</DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>"
        )
        return 200, xml, text.encode()


def key_of_a_role(name: str) -> AccessKey | None:
    """What moto's STS gave out, as AWS would know it."""
    from moto.sts.models import sts_backends

    for role in sts_backends["123456789012"]["aws"].assumed_roles:
        if role.access_key_id == name:
            return AccessKey(role.secret_access_key, role.session_token)
    return None


@contextmanager
def moto() -> Iterator[int]:
    """The port of a moto server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()
