"""Owns the Aurora questions in a statement's text and the MariaDB text that answers them; it touches no socket.

A prepared statement is rewritten when it is prepared, so it answers with the topology of that moment.
"""

import re

from .base import TEXT, Kind, Member, Members, derived_table, literal, table_pattern

AURORA_VERSION = "8.0.mysql_aurora.3.08.0"

CONSISTENCY_LEVELS = (b"", b"EVENTUAL", b"SESSION", b"GLOBAL")

_VARIABLE = (
    rb"@@(?:(?:global|session|local)\s*\.\s*)?"
    rb"`?(?P<variable>aurora_version|aurora_server_id|aurora_replica_read_consistency|innodb_read_only)`?(?![\w$])"
)
_TABLE = table_pattern(b"information_schema", b"replica_host_status")
_QUESTION = re.compile(b"|".join((_VARIABLE, _TABLE, TEXT)), re.IGNORECASE | re.DOTALL)

# MariaDB from 12.0.1 on gives it as one of several words, of which OFF is the only one that allows writes.
_READ_ONLY = b"(CONCAT(@@global.read_only) NOT IN ('0', 'OFF'))"

# Per session in Aurora, so a user variable of the session is where it is kept.
_CONSISTENCY = b"@aurora_replica_read_consistency"
_SET_CONSISTENCY = re.compile(
    rb"\s*SET\s+(?:@@)?(?:(?:SESSION|LOCAL)(?:\s*\.\s*|\s+))?`?aurora_replica_read_consistency`?\s*:?=\s*"
    rb"(?:'(?P<single>[^'\\]*)'|\"(?P<double>[^\"\\]*)\"|(?P<word>\w+))\s*;?\s*",
    re.IGNORECASE,
)

_SHOW = re.compile(
    rb"\s*(?:/\*.*?\*/\s*)*SHOW\s+(?:(?:GLOBAL|SESSION|LOCAL)\s+)?VARIABLES\s+(?P<filter>(?:LIKE|WHERE)\b.+?)\s*;?\s*",
    re.IGNORECASE | re.DOTALL,
)
_LIKE = re.compile(rb"LIKE\b", re.IGNORECASE)
_BARE_SELECT = re.compile(rb"\s*SELECT\s[^(]*", re.IGNORECASE | re.DOTALL)
_ITEM_BEFORE = re.compile(rb"(?:\bSELECT|,)\s*\Z", re.IGNORECASE)
_ITEM_AFTER = re.compile(rb"\s*(?:,|;|\Z|FROM\b)", re.IGNORECASE)


class Rewriter:
    """Answers for one instance: what it says its id and version are, and who is in the cluster."""

    def __init__(self, instance_id: str, *, members: Members, version: str = AURORA_VERSION) -> None:
        self._members = members
        self._variables = {
            b"aurora_version": literal(version),
            b"aurora_server_id": literal(instance_id),
            b"aurora_replica_read_consistency": b"CONVERT(IFNULL(%s, '') USING utf8mb4)" % _CONSISTENCY,
            b"innodb_read_only": _READ_ONLY,
        }

    def rewrite(self, statement: bytes) -> bytes:
        """Return the statement to send to MariaDB; the very same bytes where nothing is asked of Aurora."""
        show = _SHOW.fullmatch(statement)
        if show is not None:
            return self._show_variables(show["filter"])
        return _QUESTION.sub(self._answer, statement)

    def _answer(self, match: "re.Match[bytes]") -> bytes:
        if match["variable"] is not None:
            value = self._variables[match["variable"].lower()]
            return value + b" AS `" + match[0].replace(b"`", b"") + b"`" if _is_whole_item(match) else value
        if match["table"] is not None:
            return derived_table(match, [_row(member) for member in self._members()])
        return match[0]

    def _show_variables(self, condition: bytes) -> bytes:
        if _LIKE.match(condition):
            condition = b"WHERE Variable_name " + condition
        return (
            b"SELECT * FROM (SELECT 'aurora_server_id' AS Variable_name, %s AS Value"
            b" UNION ALL SELECT 'aurora_version', %s"
            b" UNION ALL SELECT 'aurora_replica_read_consistency', %s"
            b" UNION ALL SELECT 'innodb_read_only', IF(%s, 'ON', 'OFF')"
            b" UNION ALL SELECT LOWER(VARIABLE_NAME), VARIABLE_VALUE FROM information_schema.SESSION_VARIABLES"
            b" WHERE VARIABLE_NAME <> 'INNODB_READ_ONLY') AS variables %s"
        ) % (
            self._variables[b"aurora_server_id"],
            self._variables[b"aurora_version"],
            self._variables[b"aurora_replica_read_consistency"],
            _READ_ONLY,
            condition,
        )


class Session:
    """One client's statements. `waits_for_all`: each is answered from all that was committed before it came.

    That is what aurora_replica_read_consistency = 'GLOBAL' asks of a reader, and the only level that makes a
    difference where nothing is forwarded to the writer.
    https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-mysql-write-forwarding-consistency.html
    """

    __slots__ = ("_rewriter", "waits_for_all")

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self.waits_for_all = False

    def rewrite(self, statement: bytes) -> bytes:
        """As `Rewriter.rewrite`."""
        setting = _SET_CONSISTENCY.fullmatch(statement)
        if setting is None:
            return self._rewriter.rewrite(statement)
        value = next((text for text in setting.groups() if text is not None), b"").upper()
        level = b"" if value == b"DEFAULT" and setting["word"] else value
        if level not in CONSISTENCY_LEVELS:
            return (
                b"SIGNAL SQLSTATE '42000' SET MYSQL_ERRNO = 1231, MESSAGE_TEXT ="
                b" 'Variable ''aurora_replica_read_consistency'' can''t be set to the value of ''%s'''" % value
            )
        self.waits_for_all = level == b"GLOBAL"
        return b"SET %s = '%s'" % (_CONSISTENCY, level)


def _row(member: Member) -> bytes:
    """A row with the columns of `information_schema.replica_host_status` that clients read."""
    return (
        b"SELECT %s AS SERVER_ID, %s AS SESSION_ID, 0 AS IOPS, 0 AS READ_IOS, 0 AS PENDING_READ_IOS, %.3fE0 AS CPU,"
        b" 0 AS DURABLE_LSN, 0 AS ACTIVE_LSN, 0 AS LAST_TRANSPORT_ERROR,"
        b" NOW(6) - INTERVAL %d MICROSECOND AS LAST_UPDATE_TIMESTAMP,"
        b" %d AS MASTER_SLAVE_LATENCY_IN_MICROSECONDS, %.3fE0 AS REPLICA_LAG_IN_MILLISECONDS,"
        b" 0 AS LOG_STREAM_SPEED_IN_KiB_PER_SECOND, 1 AS IS_CURRENT"
    ) % (
        literal(member.id),
        literal("MASTER_SESSION_ID" if member.is_writer else member.session_id),
        member.cpu,
        int(member.age * 1e6),
        int(member.lag_ms * 1000),
        member.lag_ms,
    )


def _is_whole_item(match: "re.Match[bytes]") -> bool:
    """Whether the match is an item of a plain select list, whose column then keeps the name Aurora gives it."""
    before, after = match.string[: match.start()], match.end()
    return bool(
        _BARE_SELECT.fullmatch(before) and _ITEM_BEFORE.search(before) and _ITEM_AFTER.match(match.string, after)
    )


AURORA = Kind(
    "aurora",
    (b"aurora", b"innodb_read_only", b"replica_host_status"),
    lambda instance_id, members: Session(Rewriter(instance_id, members=members)),
)
