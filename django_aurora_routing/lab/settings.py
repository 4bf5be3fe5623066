"""Owns what a cluster is asked to be, as a value that travels to the supervisor; and the loopback addresses."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

NETWORK = "127.0.0"
FIRST_INSTANCE, WRITER_ENDPOINT, READER_ENDPOINT, STANDALONE = 11, 10, 20, 30
# Instances 11 to 19: between the two endpoints.
MAX_READERS = READER_ENDPOINT - FIRST_INSTANCE - 1


@dataclass(frozen=True, slots=True)
class Settings:
    """`owner` is the process whose end is the cluster's end; 0 for one that lives until it is told to stop."""

    name: str
    ids: tuple[str, ...]
    port: int
    is_cluster: bool
    user: str
    password: str
    databases: tuple[str, ...]
    max_connections: int
    owner: int
    kind: str = "aurora"

    @property
    def host_pattern(self) -> str:
        return f"{NETWORK}.?"

    @property
    def writer_address(self) -> tuple[str, int]:
        return f"{NETWORK}.{WRITER_ENDPOINT}", self.port

    @property
    def reader_address(self) -> tuple[str, int]:
        return f"{NETWORK}.{READER_ENDPOINT}", self.port

    def host(self, instance_id: str) -> str:
        return f"{NETWORK}.{instance_id}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        values: dict[str, Any] = json.loads(text)
        for name in ("ids", "databases"):
            values[name] = tuple(values[name])
        return cls(**values)


def addresses(ids: Sequence[str], *, is_cluster: bool) -> list[str]:
    """Every host a cluster needs, with room for readers that are added later."""
    if not is_cluster:
        return [f"{NETWORK}.{instance_id}" for instance_id in ids]
    numbers = [WRITER_ENDPOINT, READER_ENDPOINT, *(int(instance_id) for instance_id in ids)]
    return [f"{NETWORK}.{number}" for number in numbers]
