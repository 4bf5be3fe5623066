"""Owns the lab's public face: a cluster and a single server, to be started, asked about, and broken."""

import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import LabError
from .handles import Handle, Instance, Say
from .kinds import find_kind
from .kinds.global_database import REGIONS
from .settings import FIRST_INSTANCE, MAX_READERS, STANDALONE, Settings

USER, PASSWORD, DATABASES = "app", "app-password", ("app",)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that leads to whoever has its role."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion that happened: `started`, `writable`, `finished` by `time.monotonic()`, `*_at` by `time.time()`.

    From `writable` on the new writer takes writes; the endpoint leads to it a fraction of a millisecond later.
    """

    old: str
    new: str
    started: float
    writable: float
    finished: float
    started_at: float
    writable_at: float
    finished_at: float

    @property
    def seconds(self) -> float:
        return self.finished - self.started


class LocalCluster(Handle):
    """One writer and `readers` readers, real servers, that answer a client as a cluster of that `kind` does.

    "aurora": as Aurora MySQL; "global": as an Aurora global database, with every second instance in another region,
    where it can be promoted; "multi-az": as an RDS Multi-AZ DB cluster; "group-replication": as MySQL's Group
    Replication; "replication": as what they are, a MariaDB primary and its replicas.
    `port` is a free one unless given. The cluster ends with this process, however that ends; with `detached` it
    lives on until stop() is called on a handle from `attach(name)`.
    """

    def __init__(
        self,
        readers: int = 2,
        *,
        kind: str = "aurora",
        name: str | None = None,
        databases: Sequence[str] = DATABASES,
        user: str = USER,
        password: str = PASSWORD,
        port: int | None = None,
        max_connections: int = 2000,
        detached: bool = False,
        say: Say | None = None,
    ) -> None:
        if not 0 <= readers <= MAX_READERS:
            raise LabError(f"A cluster has 0 to {MAX_READERS} readers, not {readers}.")
        settings = Settings(
            name=name or f"c{uuid.uuid4().hex[:12]}",
            ids=tuple(str(FIRST_INSTANCE + number) for number in range(1 + readers)),
            port=port or 0,
            is_cluster=True,
            user=user,
            password=password,
            databases=tuple(databases),
            max_connections=max_connections,
            owner=0 if detached else os.getpid(),
            kind=find_kind(kind).name,
        )
        super().__init__(settings, say)

    @property
    def kind(self) -> str:
        return self._settings.kind

    @property
    def writer(self) -> Instance:
        """The cluster's writer, dead or alive."""
        return self._instances("writer")[0]

    @property
    def readers(self) -> tuple[Instance, ...]:
        return self._instances("reader")

    @property
    def writer_endpoint(self) -> Endpoint:
        return Endpoint(*self._settings.writer_address)

    @property
    def reader_endpoint(self) -> Endpoint:
        return Endpoint(*self._settings.reader_address)

    @property
    def host_pattern(self) -> str:
        """What `cluster_instance_host_pattern` must be: `?` stands for an instance's id."""
        return self._settings.host_pattern

    @property
    def regional_host_patterns(self) -> str:
        """What `global_cluster_instance_host_patterns` must be for a global database."""
        return ",".join(f"{region}:{self.host_pattern}:{self.port}" for region in REGIONS)

    def promote(self, instance: "Instance | str | None" = None) -> Promotion:
        """Make a reader the writer; by default the one that has most. No row a client was told of is lost.

        With the old writer alive it is a planned switch: it stays, read-only, with its connections. A frozen one
        is fenced, and comes back as a reader when it is thawed.
        """
        instance_id = instance.id if isinstance(instance, Instance) else instance
        done = self.ask("promote", instance_id=instance_id)
        offset = time.time() - time.monotonic()
        moments = {name: done[name] for name in ("started", "writable", "finished")}
        at = {f"{name}_at": moment + offset for name, moment in moments.items()}
        return Promotion(old=done["old"], new=done["new"], **moments, **at)

    def add_reader(self) -> Instance:
        """Add a reader, and return it when it has all that the writer has."""
        return self.instance(self.ask("add_reader"))

    def hold_endpoint(self) -> None:
        """Let the writer endpoint lead to today's writer, whoever is promoted: so does a DNS name for a while.

        Ended by `release_endpoint()`, and by `heal()`.
        """
        self.ask("hold_endpoint")

    def release_endpoint(self) -> None:
        """Let the writer endpoint lead to the writer again."""
        self.ask("release_endpoint")

    def catch_up(self) -> None:
        """Return when every running reader has what the writer has now."""
        self.ask("catch_up")

    def as_dict(self) -> dict[str, Any]:
        return {
            "writer_endpoint": f"{self.writer_endpoint.host}:{self.port}",
            "reader_endpoint": f"{self.reader_endpoint.host}:{self.port}",
            "host_pattern": self.host_pattern,
            **super().as_dict(),
        }


class LocalServer(Handle):
    """One real server that is nobody's cluster, at 127.0.0.30, with the same faults and the same end."""

    def __init__(
        self,
        *,
        name: str | None = None,
        databases: Sequence[str] = DATABASES,
        user: str = USER,
        password: str = PASSWORD,
        port: int | None = None,
        max_connections: int = 500,
        detached: bool = False,
        say: Say | None = None,
    ) -> None:
        settings = Settings(
            name=name or f"s{uuid.uuid4().hex[:12]}",
            ids=(str(STANDALONE),),
            port=port or 0,
            is_cluster=False,
            user=user,
            password=password,
            databases=tuple(databases),
            max_connections=max_connections,
            owner=0 if detached else os.getpid(),
        )
        super().__init__(settings, say)

    @property
    def host(self) -> str:
        return self._settings.host(str(STANDALONE))

    @property
    def server(self) -> Instance:
        return self._instances()[0]
