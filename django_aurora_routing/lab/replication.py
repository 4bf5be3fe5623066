"""Owns the SQL of MariaDB's GTID replication: follow, drain, compare, demote; it decides nothing."""

import time
from collections.abc import Sequence

from .errors import LabError
from .servers import Server

# Semi-sync AFTER_SYNC: a client hears "done" only after a reader has the transaction in its relay log. The time-out is
# an hour, so that a writer which nobody follows waits instead of acknowledging what a promotion would lose.
OPTIONS = (
    "--log-bin=binlog",
    "--log-slave-updates",
    "--binlog-format=ROW",
    "--relay-log=relay",
    "--gtid-strict-mode=1",
    "--log-bin-trust-function-creators=1",
    "--skip-slave-start",
    "--read-only=1",
    "--slave-net-timeout=10",
    "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
    "--rpl-semi-sync-master-timeout=3600000",
    "--rpl-semi-sync-slave-enabled=1",
    "--rpl-semi-sync-slave-kill-conn-timeout=1",
)
CATCH_UP_SECONDS = 60


def follow(server: Server, writer: Server, *, password: str, delay: int = 0) -> None:
    """Make `server` a replica of `writer` from where it stands; what its relay log holds unapplied is fetched again."""
    server.sql("STOP SLAVE")
    server.sql(
        f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {writer.port}, MASTER_USER = 'replica',"
        f" MASTER_PASSWORD = '{password}', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1,"
        f" MASTER_DELAY = {delay}"
    )
    server.sql("START SLAVE")


def stop_following(server: Server) -> None:
    server.sql("STOP SLAVE")
    server.sql("RESET SLAVE ALL")


def demote(server: Server) -> None:
    """Let a server that is read-only, a former writer it may be, follow from the end of its own binary log."""
    server.sql("SET GLOBAL rpl_semi_sync_master_enabled = OFF")
    server.sql("SET GLOBAL gtid_slave_pos = @@gtid_binlog_pos")


def written(server: Server) -> str:
    """The position of the last transaction in the server's own binary log."""
    return str(server.value("@@gtid_binlog_pos"))


def received(server: Server) -> str:
    """The position of the last whole transaction that a replica has, applied or not."""
    status = server.sql("SHOW SLAVE STATUS")
    position = str(status[0]["Gtid_IO_Pos"]) if status else ""
    applied = str(server.value("@@gtid_slave_pos"))
    return position if sequence(position) > sequence(applied) else applied


def contains(server: Server, position: str) -> bool:
    """Whether the transaction at `position`, the end of another server's history, is in this server's log.

    Each server id numbers its transactions upwards and a history is only ever cut at its end, so a log that has a
    later number of an id has all its earlier ones.
    """
    state = [gtid.split("-") for gtid in str(server.value("@@gtid_binlog_state")).split(",") if gtid]
    latest = {(domain, server_id): int(number) for domain, server_id, number in state}
    wanted = [gtid.split("-") for gtid in position.split(",") if gtid]
    return all(latest.get((domain, server_id), -1) >= int(number) for domain, server_id, number in wanted)


def sequence(position: str) -> int:
    """The number in a GTID position; the lab's servers have one domain, so numbers tell who has more."""
    return max((int(gtid.split("-")[2]) for gtid in position.split(",") if gtid), default=0)


def wait_applied(server: Server, position: str, *, seconds: float = CATCH_UP_SECONDS) -> None:
    """Return when `server` has applied `position`. Raises LabError, with the replication's own error if it has one."""
    if not position:
        return
    if server.value(f"MASTER_GTID_WAIT('{position}', {seconds})") == 0:
        return
    raise LabError(f"server {server.home.name} did not reach {position} in {seconds:.0f} s: {failure(server)}")


def failure(server: Server) -> str:
    """What stops the server's replication, or an empty string."""
    errors = [f"{row['Last_IO_Error']} {row['Last_SQL_Error']}".strip() for row in server.sql("SHOW SLAVE STATUS")]
    return "; ".join(error for error in errors if error)


def set_waiting_for_readers(writer: Server, is_on: bool) -> None:
    """Switch semi-sync on the writer; off where there is no reader that could answer, as Aurora would go on alone."""
    writer.sql(f"SET GLOBAL rpl_semi_sync_master_enabled = {'ON' if is_on else 'OFF'}")


def wait_followed(writer: Server, *, seconds: float) -> bool:
    """Return whether a semi-sync replica is connected to `writer`, as soon as one is."""
    deadline = time.monotonic() + seconds
    while True:
        rows = writer.sql("SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'")
        if int(rows[0]["Value"]) > 0:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.002)


def highest_received(servers: Sequence[Server]) -> int:
    """The sequence number of the last transaction that any of the replicas has."""
    return max(sequence(received(server)) for server in servers)
