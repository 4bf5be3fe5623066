"""Owns a second way into a cluster: a proxy before the facade that demands TLS and a token, as RDS does with IAM.

It speaks the server's side of the login itself and, when it lets somebody in, logs in to the server with the lab's own
user. After that it passes bytes on. Faults, kills and promotions of the cluster go through it.
"""

import contextlib
import hashlib
import secrets
import select
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .cluster import LocalCluster
from .framing import error_packet, without_compression_and_tls
from .servers import free_port
from .settings import addresses
from .tokens import TokenCheck

_CONNECT_WITH_DB, _COMPRESS, _SSL = 1 << 3, 1 << 5, 1 << 11
_SECURE, _PLUGIN_AUTH, _ATTRS, _LENENC, _ZSTD = 1 << 15, 1 << 19, 1 << 20, 1 << 21, 1 << 26
_CLEAR_TEXT, _NATIVE = b"mysql_clear_password", b"mysql_native_password"
_LOGIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login: by whom, where, and why it was refused ("" for one that was let in)."""

    user: str
    host: str
    problem: str
    token: str


class LoginProxy:
    """Listens on every address of a cluster, on a port of its own, until `close()`.

    `greets_with` is the authentication that its greeting names; a client that begins with another is asked to switch.
    With `asks_again` all are asked to. `certified_for` are the addresses in its certificate, if not its own.
    """

    def __init__(
        self,
        cluster: LocalCluster,
        check: TokenCheck,
        *,
        greets_with: str = _NATIVE.decode(),
        asks_again: bool = False,
        certified_for: Sequence[str] = (),
    ) -> None:
        self.check = check
        self.attempts: list[Attempt] = []
        self.offers_tls = True
        self.in_clear: list[bytes] = []
        """What clients have sent before TLS had begun, but for the request to begin it."""
        self._cluster = cluster
        self._greets_with = greets_with.encode()
        self._asks_again = asks_again
        self._directory = tempfile.TemporaryDirectory()
        hosts = addresses([i.id for i in (cluster.writer, *cluster.readers)], is_cluster=True)
        self.ca = make_certificate(Path(self._directory.name), certified_for or hosts)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.ca, self.ca.with_suffix(".key"))
        self.port = free_port(*hosts)
        self._listeners = [socket.create_server((host, self.port), backlog=1024) for host in hosts]
        for listener in self._listeners:
            self._start(self._accept, listener)

    @property
    def host_pattern(self) -> str:
        return f"{self._cluster.host_pattern}:{self.port}"

    @property
    def problems(self) -> list[str]:
        return [attempt.problem for attempt in self.attempts]

    def close(self) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._directory.cleanup()

    def _start(self, call: Callable[..., None], *args: object) -> None:
        threading.Thread(target=call, args=args, name="aurora-lab-login", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        host = listener.getsockname()[0]
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._start(self._serve, client, host)

    def _serve(self, client: socket.socket, host: str) -> None:
        with contextlib.ExitStack() as closes:
            ends = [client]
            closes.callback(lambda: _close(ends))
            try:
                client.settimeout(_LOGIN_SECONDS)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = socket.create_connection((host, self._cluster.port), _LOGIN_SECONDS)
                ends.append(server)
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._log_in(ends, host):
                    for sock in ends:
                        sock.settimeout(None)
                    _pass_on(*ends)
            except (OSError, EOFError, ValueError):
                with contextlib.suppress(OSError):  # as a server does that is not there any more
                    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _log_in(self, ends: list[socket.socket], host: str) -> bool:
        """Both logins. Puts TLS in the place of the client's end; returns whether it was let in."""
        client, server = ends
        _, greeting = _read(server)
        if greeting[:1] == b"\xff":  # too many connections
            _write(client, 0, greeting)
            return False
        scramble = _scramble_in(greeting)
        _write(client, 0, self._greeting(greeting))
        sequence, hello = _read(client)
        if not int.from_bytes(hello[:4], "little") & _SSL or len(hello) > 32:
            self.in_clear.append(hello)
            _send_error(client, sequence, 3159, "HY000", "Connections using insecure transport are prohibited")
            return False
        ends[0] = inside = self._context.wrap_socket(client, server_side=True)
        sequence, hello = _read(inside)
        answer = _Answer(hello)
        if answer.plugin != _CLEAR_TEXT or self._asks_again:
            _write(inside, sequence + 1, b"\xfe" + _CLEAR_TEXT + b"\0")
            sequence, answer.password = _read(inside)
        token = answer.password.rstrip(b"\0").decode("utf-8", "replace")
        problem = self.check.problem(token, user=answer.user, host=host, port=self.port)
        self.attempts.append(Attempt(answer.user, host, problem, token))
        if problem:
            said = f"Access denied for user '{answer.user}'@'127.0.0.1' (using password: {'YES' if token else 'NO'})"
            _send_error(inside, sequence, 1045, "28000", said)
            return False
        _write(server, 1, answer.for_server(self._cluster.user, self._cluster.password, scramble))
        _, outcome = _read(server)
        _write(inside, sequence + 1, outcome)
        return outcome[:1] == b"\x00"

    def _greeting(self, real: bytes) -> bytes:
        """The server's own, with TLS among its abilities and compression not."""
        packet = bytearray(without_compression_and_tls(b"\0\0\0\0" + real)[4:])
        at = packet.index(0, 1) + 1 + 4 + 8 + 1
        if self.offers_tls:
            packet[at + 1] |= _SSL >> 8
        packet[at + 5] |= (_PLUGIN_AUTH | _LENENC) >> 16 & 0xFF
        end = packet.rindex(0, 0, len(packet) - 1)  # before the plugin's name
        return bytes(packet[: end + 1]) + self._greets_with + b"\0"


class _Answer:
    """A client's answer to the greeting, taken apart."""

    def __init__(self, packet: bytes) -> None:
        self.flags = int.from_bytes(packet[:4], "little")
        self._head = packet[4:32]
        rest = packet[32:]
        user, _, rest = rest.partition(b"\0")
        self.user = user.decode()
        if self.flags & _LENENC:
            length, rest = _lenenc(rest)
        else:
            length, rest = rest[0], rest[1:]
        self.password, rest = rest[:length], rest[length:]
        self.database = b""
        if self.flags & _CONNECT_WITH_DB:
            self.database, _, rest = rest.partition(b"\0")
        self.plugin, _, _ = rest.partition(b"\0")

    def for_server(self, user: str, password: str, scramble: bytes) -> bytes:
        """The same for the real server, which knows another user, and passwords."""
        flags = (self.flags | _SECURE | _PLUGIN_AUTH) & ~(_SSL | _ATTRS | _LENENC | _COMPRESS | _ZSTD)
        response = _native(password, scramble)
        database = self.database + b"\0" if flags & _CONNECT_WITH_DB else b""
        head = flags.to_bytes(4, "little") + self._head + user.encode() + b"\0"
        return head + bytes([len(response)]) + response + database + _NATIVE + b"\0"


def _native(password: str, scramble: bytes) -> bytes:
    once = hashlib.sha1(password.encode()).digest()
    salted = hashlib.sha1(scramble + hashlib.sha1(once).digest()).digest()
    return bytes(a ^ b for a, b in zip(once, salted, strict=True))


def _scramble_in(greeting: bytes) -> bytes:
    at = greeting.index(0, 1) + 1 + 4
    return greeting[at : at + 8] + greeting[at + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10 :][:12]


def _lenenc(data: bytes) -> tuple[int, bytes]:
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(data[0], 0)
    return (int.from_bytes(data[1 : 1 + size], "little"), data[1 + size :]) if size else (data[0], data[1:])


def _read(sock: socket.socket) -> tuple[int, bytes]:
    header = _exactly(sock, 4)
    return header[3], _exactly(sock, int.from_bytes(header[:3], "little"))


def _close(socks: list[socket.socket]) -> None:
    for sock in socks:
        sock.close()


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (piece := sock.recv(size - len(data))):
            raise EOFError
        data += piece
    return data


def _write(sock: socket.socket, sequence: int, payload: bytes) -> None:
    sock.sendall(len(payload).to_bytes(3, "little") + bytes([sequence]) + payload)


def _send_error(sock: socket.socket, sequence: int, code: int, state: str, message: str) -> None:
    sock.sendall(error_packet(sequence + 1, code, state, message))
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):  # until it has read that
            pass


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    while True:
        ready = (
            [client]
            if isinstance(client, ssl.SSLSocket) and client.pending()
            else select.select([client, server], [], [])[0]
        )
        if client in ready:
            if not (data := client.recv(65536)):
                return
            server.sendall(data)
        if server in ready:
            if not (data := server.recv(65536)):
                raise EOFError  # the server has gone: the client is to see a reset
            client.sendall(data)


def make_certificate(directory: Path, hosts: Sequence[str]) -> Path:
    """A certificate for these addresses, which is its own authority; the key lies beside it. Needs openssl."""
    cert = directory / f"{secrets.token_hex(4)}.pem"
    names = ",".join(f"IP:{host}" for host in hosts)
    what = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=aurora-lab -addext subjectAltName={names}"
    subprocess.run(
        ["openssl", *what.split(), "-keyout", cert.with_suffix(".key"), "-out", cert], check=True, capture_output=True
    )
    return cert
