"""Which of Django's error classes a MySQL error belongs to, as mysqlclient and Django's own backend have it."""

from __future__ import annotations

from django.db import utils

# mysqlclient, src/MySQLdb/_mysql.c, _mysql_Exception(); everything else from 1000 on is an OperationalError.
_CLASSES: dict[type[utils.Error], tuple[int, ...]] = {
    utils.InterfaceError: (0,),
    utils.ProgrammingError: (1007, 1064, 1102, 1103, 1110, 1111, 1112, 1113, 1146, 1149, 1179, 2014),
    utils.DataError: (1171, 1230, 1264, 1265, 1406, 1441),
    utils.IntegrityError: (
        *(1048, 1062, 1169, 1215, 1216, 1217, 1364, 1451, 1452),
        *(1690, 3819, 4025),  # Django, db/backends/mysql/base.py, CursorWrapper.codes_for_integrityerror
    ),
    utils.NotSupportedError: (1196, 1235, 1286, 1289),
}
_CLASS_OF = {errno: cls for cls, errnos in _CLASSES.items() for errno in errnos}


def error_class(errno: int) -> type[utils.Error]:
    """Django's class for an error number of MySQL or MariaDB."""
    default = utils.OperationalError if errno >= 1000 else utils.InternalError
    return _CLASS_OF.get(errno, default)


def class_of_same_name(error: BaseException) -> type[utils.Error]:
    """Django's class for an error without a number, which the driver itself has found."""
    for cls in type(error).__mro__:
        namesake = getattr(utils, cls.__name__, None)
        if isinstance(namesake, type) and issubclass(namesake, utils.Error):
            return namesake
    return utils.InterfaceError
