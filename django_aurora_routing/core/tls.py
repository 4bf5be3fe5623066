"""What TLS must be like before a token is sent as it is: the server proven to be who it says, by a named authority."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .logins import Say

CLEAR_TEXT = "mysql_clear_password"
"""The client's plugin that sends a password as it is, which is how a token is sent."""

_BUNDLE = "Name the file of certificates: for RDS https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
_WHY = "a token is sent as it is, so the server must be proven to be who it says."


def demanded_tls(given: Mapping[str, object], driver_names: Collection[str], say: Say) -> dict[str, object]:
    """The driver's arguments that are missing in `given`; `say` is told which one in it must not be as it is.

    Identity is verified unless the user says otherwise: a name of one's own is in no certificate of RDS.
    """
    if given.get("unix_socket"):
        say("unix_socket", f"cannot be used: {_WHY}", "Use HOST and PORT.")
    for name in ("read_default_file", "read_default_group"):  # a library may heed what they say of TLS before our own
        if given.get(name):
            say(name, f"cannot be used: {_WHY}", "Write its settings in DATABASES.")
    if "ssl_mode" in driver_names:
        return _for_mysqlclient(given, say)
    if given.get("ssl_disabled"):
        say("ssl_disabled", _WHY, "Remove it.")
    if not given.get("ssl_ca"):
        say("ssl_ca", f"is needed: {_WHY}", _BUNDLE)
    if given.get("ssl_verify_cert") is False:
        say("ssl_verify_cert", _WHY, "Remove it.")
    return {"ssl_verify_cert": True, "ssl_verify_identity": given.get("ssl_verify_identity") is not False}


def _for_mysqlclient(given: Mapping[str, object], say: Say) -> dict[str, object]:
    mode, files = str(given.get("ssl_mode") or "VERIFY_IDENTITY"), given.get("ssl")
    if mode not in ("VERIFY_CA", "VERIFY_IDENTITY"):
        say("ssl_mode", f"{mode!r} will not do: {_WHY}", "Use 'VERIFY_IDENTITY', or leave it out.")
    if not isinstance(files, Mapping) or not files.get("ca"):
        say("ssl", f"needs 'ca': {_WHY}", _BUNDLE)
    return {"ssl_mode": mode}
