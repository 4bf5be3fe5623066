"""Calls the plugins that want to be called: around connects and statements, and when the cluster has changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from ..cluster.activity import Activity
from ..cluster.credentials import log_in
from ..core.endpoints import Address
from ..core.topology import Topology
from ..drivers.base import Connection, Driver
from ..plugins.base import Plugin
from ..plugins.loading import find_plugin
from .lost import LostConnection

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as _Base
else:
    _Base = object

logger = logging.getLogger(__name__)


class ExtensionsMixin(_Base):
    """Over a Django `DatabaseWrapper`: holds its plugins. Without any, it costs nothing but a look at each connect."""

    driver: Driver
    _extensions: tuple[Plugin, ...] = ()
    _told_of: int | None = None
    _activity: Activity

    @property
    def place(self) -> Address | None:
        """The instance that the present session, or the last one, is on; its set-up included."""
        return self._activity.address

    def extend(self, names: tuple[str, ...]) -> None:
        """Have these plugins, and no others. Raises ImproperlyConfigured where one cannot be made."""
        made = tuple(self._made(name) for name in names)
        for former in self._extensions:
            if former.execute in self.execute_wrappers:
                self.execute_wrappers.remove(former.execute)
        self._extensions = made
        for plugin in reversed(self._extensions):
            if type(plugin).execute is not Plugin.execute:
                # At the beginning: Django's `execute_wrapper()` takes the last away, when the block around us ends.
                self.execute_wrappers.insert(0, plugin.execute)

    def _made(self, name: str) -> Plugin:
        try:
            return find_plugin(name)(self.alias)
        except Exception as exc:
            problem = f"OPTIONS['plugins'] names {name!r}, of which no object can be made: {exc!r}"
            raise ImproperlyConfigured(f"DATABASES[{self.alias!r}]: {problem}") from exc

    @property
    def has_own_way_to_connect(self) -> bool:
        """Whether a plugin may do something to a new session, before Django does."""
        return any(type(plugin).connect is not Plugin.connect for plugin in self._extensions)

    def log_in(self, driver: Driver, address: Address, params: Mapping[str, Any], timeout: float) -> Connection:
        """`credentials.log_in()`, with the plugins around it; the first that was named is the outermost."""
        connect = partial(log_in, driver, address, params, timeout)
        for plugin in reversed(self._extensions):
            connect = partial(plugin.connect, address, connect)
        return connect()

    def tell_extensions(self, topology: Topology) -> None:
        """Tell the plugins of the cluster, unless they know of this state of it. Raises nothing.

        Here the connection is open and not Django's yet, or a statement is about to be sent.
        """
        if self._extensions and topology.generation != self._told_of:
            self._told_of = topology.generation
            for plugin in self._extensions:
                try:
                    plugin.topology_changed(topology)
                except Exception:
                    logger.exception("alias %r: %r failed to hear of a topology", self.alias, plugin)

    def cut(self) -> None:
        """Cut the connection off below the driver, as a broken network does. For tests."""
        self.ensure_connection()
        if not isinstance(self.connection, LostConnection):
            self.driver.abort(self.connection)
