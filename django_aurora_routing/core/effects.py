"""What a statement may do to a database, told from its text alone: nothing, hold something, or write.

Whatever is not known to be harmless counts as a write. What a text cannot show is a stored function with side
effects: only the server can refuse that.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache


class Effect(enum.Enum):
    """The worst that a statement may do."""

    NONE = "reads"
    LOCK = "locks"
    """Holds rows or a lock, or draws from a sequence: no reader has to catch up with it, but it is for the writer."""
    WRITE = "writes"


_TOO_LONG = 10_000  # characters; such a text is not worth its place in the cache

# Every write that the ORM makes begins like this, and no statement that begins like this is anything else.
_PLAIN_WRITES = ("INSERT ", "UPDATE ", "DELETE ")


def effect_of(sql: str, vendor: str) -> Effect:
    """What `sql`, which may be several statements, may do. `vendor` is Django's name for the kind of database."""
    if sql.startswith(_PLAIN_WRITES):
        return Effect.WRITE
    if len(sql) > _TOO_LONG:
        return _effect_of(sql, vendor)
    return _remembered(sql, vendor)


def first_words(sql: str, vendor: str) -> str:
    """The beginning of `sql` for a message: at most six names and keywords, and never a value."""

    def shown(match: re.Match[str]) -> str:
        if match.lastgroup == "comment":
            return " "
        return match[0] if match.lastgroup in ("name", "bracketed") else " ? "

    words = _WORDS.match(" ".join(_tokens(vendor).sub(shown, sql[:_TOO_LONG]).split()).lstrip("( "))
    return words[0].rstrip() if words is not None else ""


# -- quoted text and comments

# Each piece says what follows one of the characters with which quoting begins: a search that looks for these
# characters alone is ten times as fast as one that tries all pieces everywhere.
_COMMENT = r"(?P<comment>(?<=/)\*.*?\*/|%s)"
_STRING = r"(?P<string>(?<=')[^']*')"  # a doubled quote inside makes it two strings, which is all the same here
_NAME = r"""(?P<name>(?<=")[^"]*"|(?<=`)[^`]*`)"""
_OPEN = r"""(?P<open>(?<=['"`]).*|(?<=/)\*.*)"""  # never closed: nobody can say what it is

_GRAMMARS = {
    "mysql": (
        _COMMENT % r"(?:(?<=\#)|(?<=-)-(?=[\x00-\x20\x7f]|\Z))[^\n]*",
        r"(?P<string>(?<=')[^'\\]*(?:\\.[^'\\]*)*'|(?<=\")[^\"\\]*(?:\\.[^\"\\]*)*\")",
        r"(?P<name>(?<=`)[^`]*`)",
        _OPEN,
    ),
    "postgresql": (
        _COMMENT % r"(?<=-)-[^\n\r]*",
        r"(?P<escaped>(?<=(?<![\w$])[eE]')[^'\\]*(?:\\.[^'\\]*)*')",
        r"(?P<dollars>(?<=(?<![\w$])\$)(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)",
        r"(?P<opendollars>(?<=(?<![\w$])\$)(?:[^\W\d]\w*)?\$.*)",
        _STRING,
        r"(?P<name>(?<=\")[^\"]*\")",
        _OPEN,
    ),
    "sqlite": (
        _COMMENT % r"(?<=-)-[^\n]*",
        _STRING,
        _NAME,
        r"(?P<bracketed>(?<=\[)[^\]]*\])",
        r"(?P<openbracket>(?<=\[).*)",
        _OPEN,
    ),
    "oracle": (
        _COMMENT % r"(?<=-)-[^\n]*",
        # q'[it's]' has another end for each bracket, so we give up.
        r"(?P<openq>(?:(?<=(?<![\w$#])[qQ]')|(?<=(?<![\w$#])[nN][qQ]')).*)",
        _STRING,
        _NAME,
        _OPEN,
    ),
}
_TOKENS = {
    vendor: re.compile(rf"""[-/\#'"`$\[](?:{"|".join(pieces)})""", re.DOTALL) for vendor, pieces in _GRAMMARS.items()
}
_CALLED = re.compile(r"\s*\(")


def _tokens(vendor: str) -> re.Pattern[str]:
    return _TOKENS.get(vendor, _TOKENS["postgresql"])


def _code(sql: str, vendor: str) -> str | None:
    """`sql` in capitals without comments and without what is quoted; None if it cannot be told apart."""
    unclear = False

    def plain(match: re.Match[str]) -> str:
        nonlocal unclear
        text, kind = match[0], match.lastgroup or ""
        if kind == "comment":
            # MySQL executes some comments; PostgreSQL has comments in comments, and no other does.
            unclear |= text.startswith(("/*!", "/*M!")) or (text.startswith("/*") and "/*" in text[2:])
            return " "
        unclear |= kind.startswith("open")
        if kind in ("name", "bracketed"):
            return f" {text[1:-1]} " if _CALLED.match(sql, match.end()) and text[1:-1].isidentifier() else " X "
        return " '' "

    code = _tokens(vendor).sub(plain, sql)
    return None if unclear else " ".join(code.upper().split())


# -- statements, as `_code` leaves them: capitals, single spaces

_FIRST = re.compile(r"([A-Z_]+)")
_WORDS = re.compile(r"""(?:(?:\*|[^\W\d][\w$]*|"[^"]*"|`[^`]*`)(?: ?\. ?(?:\w+|"[^"]*"|`[^`]*`))* ?){1,6}""")
_READS = ("SELECT", "VALUES", "TABLE")
# One of these is in each text that the expressions below find, and to look for them is ten times as fast.
_SUSPECT = ("INTO", "FOR ", "LOCK", "NEXT", "SETVAL", "NOTIFY", "LO_", "LOAD_", "DBLINK")
_LOCKING_READ = re.compile(r"\bFOR (?:NO KEY |KEY )?(?:UPDATE|SHARE)\b|\bLOCK IN SHARE MODE\b")
_HOLDS = re.compile(
    r"\bNEXT VALUE FOR\b|\. ?NEXTVAL\b|\b(?:GET_LOCK|RELEASE_LOCK|RELEASE_ALL_LOCKS|NEXTVAL|SETVAL"
    r"|PG_(?:TRY_)?ADVISORY_\w*LOCK\w*|PG_NOTIFY|LOAD_EXTENSION) ?\("
)
_WRITING_FUNCTION = re.compile(r"\b(?:LO_\w+|DBLINK\w*) ?\(")
_INTO = re.compile(r"\bINTO\b")
_CHANGE = re.compile(r"\b(?:INTO|UPDATE|DELETE|MERGE)\b|\b(?:INSERT|REPLACE)\b(?! ?\()")  # INSERT() is a function
_TRANSACTION = re.compile(
    r"(?:BEGIN|START TRANSACTION)(?:[ ,]+(?:WORK|TRANSACTION|DEFERRED|IMMEDIATE|EXCLUSIVE|ISOLATION|LEVEL|READ|ONLY"
    r"|WRITE|REPEATABLE|COMMITTED|UNCOMMITTED|SERIALIZABLE|NOT|DEFERRABLE|WITH|CONSISTENT|SNAPSHOT))*"
    r"|SAVEPOINT [^ ]+|RELEASE(?: SAVEPOINT)? [^ ]+|(?:COMMIT|ROLLBACK|END|ABORT)(?! PREPARED)(?: .*)?"
)
_SHARED_SETTING = re.compile(
    r"(?:^SET|,) ?(?:@@ ?)?(?:GLOBAL|PERSIST|PERSIST_ONLY)\b|^SET (?:PASSWORD|DEFAULT ROLE|RESOURCE GROUP)\b"
)
_EXPLAINED = re.compile(
    r"(?:EXPLAIN|DESC(?:RIBE)?|ANALY[SZ]E|VERBOSE|EXTENDED|PARTITIONS|FORMAT ?= ?\S+|\([^()]*\)| )+"
)
_ANALYZE = re.compile(r"\bANALY[SZ]E\b")
_PRAGMA = re.compile(r"PRAGMA (?:\w+ ?\. ?)?(\w+)(.*)")
_PRAGMAS_THAT_WORK = {"OPTIMIZE", "WAL_CHECKPOINT", "INCREMENTAL_VACUUM"}
_PRAGMAS_TO_ASK = {
    *("TABLE_INFO", "TABLE_XINFO", "TABLE_LIST", "INDEX_LIST", "INDEX_INFO", "INDEX_XINFO"),
    *("FOREIGN_KEY_LIST", "FOREIGN_KEY_CHECK", "INTEGRITY_CHECK", "QUICK_CHECK"),
    # These set something, but in the session alone, and Django does.
    *("FOREIGN_KEYS", "DEFER_FOREIGN_KEYS", "LEGACY_ALTER_TABLE", "QUERY_ONLY", "BUSY_TIMEOUT", "CACHE_SIZE"),
    *("CASE_SENSITIVE_LIKE", "RECURSIVE_TRIGGERS", "SYNCHRONOUS", "TEMP_STORE", "MMAP_SIZE"),
}


def _effect_of(sql: str, vendor: str) -> Effect:
    code = _code(sql, vendor)
    if code is None:
        return Effect.WRITE
    effects = {_effect_of_one(statement.strip()) for statement in code.split(";") if statement.strip()}
    if not effects or Effect.WRITE in effects:
        return Effect.WRITE
    return Effect.LOCK if Effect.LOCK in effects else Effect.NONE


_remembered = lru_cache(maxsize=1024)(_effect_of)


def _effect_of_one(code: str) -> Effect:
    code = code.lstrip("( ")
    first = _FIRST.match(code)
    if first is not None and first[1] in ("EXPLAIN", "DESCRIBE", "DESC"):
        return _effect_of_explaining(code)
    if first is not None and first[1] in _READS and not any(word in code for word in _SUSPECT):
        return Effect.NONE
    if first is None or _WRITING_FUNCTION.search(code) or not _is_harmless(first[1], code):
        return Effect.WRITE
    if first[1] == "LOCK" or _LOCKING_READ.search(code) or _HOLDS.search(code):
        return Effect.LOCK
    return Effect.NONE


def _is_harmless(keyword: str, code: str) -> bool:
    """Whether a statement of this kind, locks aside, leaves every table as it was."""
    if keyword in _READS:
        return not _INTO.search(code)
    if keyword == "WITH":
        return not _CHANGE.search(_LOCKING_READ.sub("", code))
    if keyword == "SET":
        if code.startswith("SET STATEMENT "):  # MariaDB's: ... FOR the statement that it is for
            statement = code.partition(" FOR ")[2]
            return statement.startswith(("SELECT ", "WITH ")) and _effect_of_one(statement) is not Effect.WRITE
        return not _SHARED_SETTING.search(code)
    if keyword == "PRAGMA":
        return _is_harmless_pragma(code)
    if keyword == "ALTER":
        return code.startswith("ALTER SESSION ")
    return keyword in ("SHOW", "USE", "LOCK") or bool(_TRANSACTION.fullmatch(code))


def _effect_of_explaining(code: str) -> Effect:
    if code.startswith("EXPLAIN PLAN"):  # Oracle's, which writes the plan into a table
        return Effect.WRITE
    explained = _EXPLAINED.match(code)
    if explained is None or not _ANALYZE.search(explained[0]):
        return Effect.NONE
    return _effect_of_one(code[explained.end() :])


def _is_harmless_pragma(code: str) -> bool:
    pragma = _PRAGMA.fullmatch(code)
    if pragma is None:
        return False
    return pragma[1] in _PRAGMAS_TO_ASK or (not pragma[2] and pragma[1] not in _PRAGMAS_THAT_WORK)
