"""The subclass. What it adds must not come between us and Django's transactions."""

import importlib
from typing import Any

from ..conftest import ENGINE

base: Any = importlib.import_module(f"{ENGINE}.base")


class DatabaseWrapper(base.DatabaseWrapper):
    def set_autocommit(self, *args: Any, **kwargs: Any) -> None:
        super().set_autocommit(*args, **kwargs)

    def commit(self) -> None:
        super().commit()

    def rollback(self) -> None:
        super().rollback()

    def connect(self) -> None:
        super().connect()
