"""Which SQL may be sent twice, and which is done as a whole; looks at text only, and says no when in doubt."""

from __future__ import annotations

import re
from functools import lru_cache

_SKIP = re.compile(r"(?:\s+|\(|--[ \t][^\n]*(?:\n|$)|#[^\n]*(?:\n|$)|/\*(?![!M])(?:[^*]|\*(?!/))*\*/)+")
_PLAIN = re.compile(r"(?:SELECT|SHOW|DESCRIBE|DESC|EXPLAIN|VALUES|TABLE)\b", re.IGNORECASE)
_WHOLE = re.compile(
    r"(?:INSERT|REPLACE|UPDATE|DELETE|LOAD|SELECT|WITH|CREATE|ALTER|DROP|TRUNCATE|RENAME|SET)\b", re.IGNORECASE
)
# Locking reads, reads that write somewhere, functions with an effect, executable comments, several statements.
_EFFECT = re.compile(
    r"\bFOR\s+(?:UPDATE|SHARE)\b|\bLOCK\s+IN\s+SHARE\s+MODE\b|\bINTO\b|:=|/\*[!M]|;\s*\S"
    r"|\b(?:GET_LOCK|RELEASE_LOCK|RELEASE_ALL_LOCKS|NEXTVAL|NEXT\s+VALUE|SETVAL|LAST_INSERT_ID|SLEEP|BENCHMARK)\b"
    r"|\bANALYZE\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=512)
def is_plain_read(sql: str) -> bool:
    """True for a statement that changes nothing and holds nothing, so that sending it again is unseen.

    Quoted text is not told from SQL, so a constant such as 'into' makes a read count as unsafe: the error is then
    reported instead of repeated. A stored function with side effects cannot be seen from here.
    """
    start = _SKIP.match(sql)
    rest = sql[start.end() :] if start else sql
    return _PLAIN.match(rest) is not None and _EFFECT.search(rest) is None


class _Answers(dict[str, bool]):
    """What `is_plain_read()` has said, by text. False, unread, for what is long or comes when enough is kept."""

    def __missing__(self, sql: str) -> bool:
        if len(self) >= _KEPT or len(sql) > _LONGEST_KEPT:
            return False
        answer = self[sql] = is_plain_read(sql)
        return answer


_KEPT, _LONGEST_KEPT = 1000, 1000
KNOWN_READS = _Answers()
"""`KNOWN_READS[sql]` is `is_plain_read(sql)`, for who asks before each statement: 0.03 us for what was asked before."""


@lru_cache(maxsize=512)
def is_one_statement(sql: str) -> bool:
    """True for what a server does as a whole or not at all, so that a refusal means that nothing has been done.

    Not so a procedure, or several statements in one text: in autocommit, what came before the refused one stays.
    """
    start = _SKIP.match(sql)
    rest = sql[start.end() :] if start else sql
    return _WHOLE.match(rest) is not None and ";" not in rest.rstrip("; \t\r\n")
