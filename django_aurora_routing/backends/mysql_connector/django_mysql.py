"""Django's own MySQL backend, importable without mysqlclient.

Its modules import MySQLdb for constants and error classes; nothing here calls that driver. Where it is not
installed, a stand-in is in `sys.modules` while they are being imported, and gone afterwards.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured

from ...drivers.mysql_connector import CLIENT_FLAGS, DB_API, FIELD_TYPES

_ERRORS = (
    *("Warning", "Error", "InterfaceError", "DatabaseError", "DataError", "OperationalError"),
    *("IntegrityError", "InternalError", "ProgrammingError", "NotSupportedError"),
)


def _connect(*args: Any, **kwargs: Any) -> NoReturn:
    raise ImproperlyConfigured("Error loading MySQLdb module.\nDid you install mysqlclient?")


def _stand_in() -> dict[str, ModuleType]:
    names = ("MySQLdb", "MySQLdb.constants", "MySQLdb.constants.CLIENT", "MySQLdb.constants.FIELD_TYPE")
    modules = {name: ModuleType(name) for name in (*names, "MySQLdb.converters")}
    root = modules["MySQLdb"]
    vars(root).update({name: getattr(DB_API, name) for name in _ERRORS})
    vars(root).update(version_info=(2, 2, 1, "final", 0), __version__="2.2.1", __path__=[], connect=_connect)
    constants = modules["MySQLdb.constants"]
    vars(constants).update(__path__=[])
    client, field_type = modules["MySQLdb.constants.CLIENT"], modules["MySQLdb.constants.FIELD_TYPE"]
    vars(client).update(CLIENT_FLAGS)
    vars(field_type).update(FIELD_TYPES, CHAR=FIELD_TYPES["TINY"], INTERVAL=FIELD_TYPES["ENUM"])
    vars(constants).update(CLIENT=client, FIELD_TYPE=field_type)
    vars(modules["MySQLdb.converters"]).update(conversions={})
    vars(root).update(constants=constants, converters=modules["MySQLdb.converters"])
    return modules


def import_django_mysql() -> ModuleType:
    """`django.db.backends.mysql.base`, with mysqlclient if it is installed and without it if not."""
    name = "django.db.backends.mysql.base"
    if name in sys.modules or importlib.util.find_spec("MySQLdb") is not None:
        return importlib.import_module(name)
    modules = _stand_in()
    sys.modules.update(modules)
    try:
        return importlib.import_module(name)
    finally:
        for module in modules:
            sys.modules.pop(module, None)
