"""OPTIONS["pool"] at a database wrapper: where its session comes from, and where it goes when it is closed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..cluster.connector import Search
from ..cluster.credentials import LogIn
from ..cluster.endpoint import WITHOUT_READER, has_role, may_pass, open_verified
from ..cluster.pools import Pools, PoolSettings, Seat, close_pools, pools_of, session_at
from ..core.endpoints import Address
from ..core.option_values import Problem
from ..core.options import Options
from ..core.splitting import Verification
from ..core.topology import Role
from ..drivers.base import Connection, Driver

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as _Base
else:
    _Base = object

logger = logging.getLogger(__name__)


def pool_problems(settings_dict: Mapping[str, Any]) -> Iterator[Problem]:
    """What there is besides its own options that prevents a pool from being used."""
    if settings_dict.get("CONN_MAX_AGE", 0) != 0:
        hint = "Set CONN_MAX_AGE to 0: the pool is what keeps sessions."
        yield Problem("CONN_MAX_AGE", "Pooling doesn't support persistent connections.", hint)
    if importlib.util.find_spec("sqlalchemy") is None:
        hint = "Install it: pip install 'django-aurora-routing[pool]'."
        yield Problem("OPTIONS['pool']", "needs SQLAlchemy, which is not installed.", hint)


class PooledSessionsMixin(_Base):
    """Over a Django `DatabaseWrapper`."""

    driver: Driver
    log_in: LogIn
    _options: Options
    _seat: Seat | None = None
    _wanted: Verification | None = None
    gave_session_back = False
    """Whether the last session is in a pool, so that nothing may be sent on it by a cursor that was kept."""

    def close_pool(self) -> None:
        """Close the sessions that are idle in the alias's pools, and forget these. The name is Django's."""
        close_pools(self.alias)

    def _pools(self, search: Search | None, params: Mapping[str, Any]) -> Pools | None:
        limits = self._options.pool
        if limits is None:
            return None
        cluster, setup = (None, "") if search is None else (search.cluster, search.setup)
        is_asked = bool(self.settings_dict.get("CONN_HEALTH_CHECKS"))
        limit = self._options.connect_limit
        return pools_of(PoolSettings(self.alias, self.driver, cluster, params, limits, limit, is_asked, setup))

    def open_directly(
        self, seed: Address, params: Mapping[str, Any], pools: Pools | None
    ) -> tuple[Connection, Address]:
        """Connect to HOST and nothing else, or take a session that is kept for it. Returns where it is, too.

        A fixed endpoint for reads that can be had no reader at is left for the one for writes, if the alias may.
        """
        spare, self._wanted = self._options.spare_endpoint, self._options.verification
        if spare is None:
            return self._open_at(seed, params, pools), seed
        if WITHOUT_READER.begin(seed):
            is_absent = False
            try:
                return self._open_at(seed, params, pools), seed
            except BaseException as exc:
                is_absent = may_pass(self.driver, exc)
                if not is_absent:
                    raise
                logger.warning("alias %r reads from %s, as it has no reader at %s: %s", self.alias, spare, seed, exc)
            finally:
                WITHOUT_READER.end(seed, is_absent=is_absent)
        if self._wanted is not None:
            self._wanted = replace(self._wanted, role=Role.WRITER)
        return self._open_at(spare, params, pools), spare

    def _open_at(self, seed: Address, params: Mapping[str, Any], pools: Pools | None) -> Connection:
        limit, wanted = self._options.connect_limit, self._wanted
        open_there: Callable[[], Connection] = partial(
            self.log_in, self.driver, seed, params, self._options.connect_timeout
        )
        if wanted is not None:
            open_there = partial(open_verified, self.driver, open_there, wanted, limit)
        connection, self._seat = session_at(seed, open_there, pools, partial(self.is_alive, timeout=limit))
        return connection

    def is_alive(self, connection: Connection, timeout: float | None = None) -> bool:
        """Ask a session at HOST, or at a fixed endpoint, for an answer, and for its role if that is verified."""
        if (wanted := self._wanted) is not None:
            return has_role(self.driver, connection, wanted.role, timeout)
        self.driver.ask(connection, "SELECT 1", timeout)
        return True

    def _leave_seat(self) -> None:
        """The session, if there was one, is closed or is about to be."""
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.leave()

    def _part_with(self, connection: Connection) -> None:
        """Give the session back to its pool, or close it when it is from none or in the midst of a block."""
        seat, self._seat = self._seat, None
        if seat is not None and not self.in_atomic_block:
            self.gave_session_back = True
            seat.give_back()
            return
        self.driver.close(connection)
        if seat is not None:
            seat.leave()
