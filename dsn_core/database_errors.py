"""Kinds of database errors: conflicts, errors that pass by themselves, lost connections."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from django.db.utils import Error, InterfaceError, OperationalError

#: Conflicts of two transactions, where the whole transaction must be run again.
#: PostgreSQL: a serialization failure and a deadlock.
_CONFLICT_STATES: Final = frozenset({"40001", "40P01"})
#: MySQL and MariaDB: a deadlock, and a row that has changed since it was read.
_CONFLICT_NUMBERS: Final = frozenset({1213, 1020})

#: After these MySQL and MariaDB may have rolled back the whole transaction, without a later error.
_ROLLED_BACK: Final = _CONFLICT_NUMBERS | {1205}

#: Classes of PostgreSQL's errors (the first two letters) that pass: no connection, no room.
_PASSING_CLASSES: Final = frozenset({"08", "53"})
#: A transaction that may only read (a standby after a fail-over), an object in use, a lock not available, a statement
#: that took too long; a server that shuts down, starts or recovers.
_PASSING_STATES: Final = frozenset({"25006", "55006", "55P03", "57014", "57P01", "57P02", "57P03", "58030"})
#: MySQL and MariaDB: connections and other resources that are used up, a full disk or table, a server that shuts down
#: or may only be read, a lock or a statement that took too long, a table changed since the snapshot.
_PASSING_NUMBERS: Final = frozenset(
    {1021, 1040, 1041, 1053, 1114, 1203, 1205, 1226, 1290, 1317, 1412, 1615, 1637, 1792, 1836, 1969, 3024, 3572}
)
#: Their numbers for failed connections; those from 2000 come from the client library.
_LOST_NUMBERS: Final = frozenset({1152, 1158, 1159, 1160, 1161, 1927, 2002, 2003, 2006, 2013, 2055, 4031})
#: SQLite: busy, locked, read-only, interrupted, a failing or full disk, a file that cannot be opened.
_PASSING_CODES: Final = frozenset({5, 6, 8, 9, 10, 13, 14})


def is_conflict(error: BaseException | None) -> bool:
    """Whether ``error``, or an error that led to it, is a serialization failure or a deadlock."""
    return any(_state(item) in _CONFLICT_STATES or _number(item) in _CONFLICT_NUMBERS for item in _chain(error))


def may_have_rolled_back(error: BaseException | None) -> bool:
    """Whether after ``error`` MySQL or MariaDB may have rolled back the whole transaction."""
    return any(_number(item) in _ROLLED_BACK for item in _chain(error))


def will_pass(error: BaseException) -> bool:
    """Whether the same statement may succeed later in a new transaction: nothing is wrong with the statement."""
    if is_conflict(error) or is_without_connection(error):
        return True
    return isinstance(error, Error) and (
        _state(error) in _PASSING_STATES
        or _state(error)[:2] in _PASSING_CLASSES
        or _number(error) in _PASSING_NUMBERS
        or _sqlite_code(error) in _PASSING_CODES
    )


def is_without_connection(error: BaseException) -> bool:
    """Whether the connection failed. Then it is unknown whether the server executed the statement."""
    if not isinstance(error, InterfaceError | OperationalError) or error.__cause__ is None:
        return False
    if isinstance(error.__cause__, sqlite3.Error):
        return False
    # For a connection that broke, or was never made, PostgreSQL's driver has no SQLSTATE.
    is_unnamed = not _state(error) and _number(error) is None
    return (
        is_unnamed
        or isinstance(error, InterfaceError)
        or _state(error)[:2] == "08"
        or _state(error)[:3] == "57P"
        or _number(error) in _LOST_NUMBERS
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _driver(error: BaseException) -> Any:
    return error.__cause__ if isinstance(error, Error) and error.__cause__ is not None else error


def _state(error: BaseException) -> str:
    """The SQLSTATE of PostgreSQL's drivers, else an empty text."""
    driver = _driver(error)
    state = getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)
    return state if isinstance(state, str) else ""


def _number(error: BaseException) -> int | None:
    if not isinstance(error, Error) or isinstance(error.__cause__, sqlite3.Error):
        return None
    return error.args[0] if error.args and isinstance(error.args[0], int) else None


def _sqlite_code(error: BaseException) -> int | None:
    code = getattr(_driver(error), "sqlite_errorcode", None)
    # The higher bytes only specialise the code in the first byte.
    return code & 0xFF if isinstance(code, int) else None
