"""What icehouse never writes into a database, and whoever writes it behind its back may: refused, and by name.

On SQLite a column takes any type, a row may be of any size, and the file's schema may hold views and triggers, which
run whatever their author liked. The driver refuses both for us, before a statement runs or a value is in memory.
"""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any, NoReturn

from icehouse.errors import SealError

if TYPE_CHECKING:
    from sqlalchemy import Connection

LARGEST = 256 << 10
"""Bytes of the largest value that is read or written: hundreds of times what a row of a vault holds."""
LAST_SECOND = 253_402_300_799
"""The end of the year 9999; no moment that is written here is later."""
MOST_OF_A_LABEL = 255
MOST = (1 << 63) - 2
"""What one may still be added to."""
_SHOWN = 60
_QUOTED = re.compile(r'"[^"]*"')
_COMPUTES = re.compile(r"\b(?:AS|CHECK|COLLATE|DEFAULT|GENERATED|WHERE)\b", re.IGNORECASE)
_HINT = "restore the database from a backup, or put right by hand what was written into it"


def guard_sqlite(connection: sqlite3.Connection) -> None:
    """Let a connection read nothing of more than `LARGEST` bytes, and run nothing that the file's schema brings."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
    connection.set_authorizer(_only_our_own)


def _only_our_own(_action: int, _one: str | None, _two: str | None, _database: str | None, inner: str | None) -> int:
    """SQLite asks while it prepares a statement; `inner` is the view or trigger that wants access, none for our own."""
    return sqlite3.SQLITE_OK if inner is None else sqlite3.SQLITE_DENY


def check_schema(connection: Connection) -> None:
    """Refuse a SQLite file whose tables or indexes compute: every reading of a row would run what their author liked.

    icehouse makes plain columns and plain indexes.
    """
    found = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'index')")
    for kind, name, sql in found:
        words = _QUOTED.sub("", sql or "")
        if _COMPUTES.search(words) or (kind == "index" and words.count("(") > 1):
            msg = f"the {kind} {name!r} of the database computes something, and icehouse makes none that does"
            raise SealError(msg, hint=_HINT)


def refuse(raised: Any) -> None:  # noqa: ANN401  an exception of either driver's
    """Raise `SealError` where the driver met what icehouse never writes. Its own words may repeat values."""
    words, state = str(raised), getattr(raised, "sqlstate", None)
    if "not authorized" in words or "prohibited" in words:
        msg = "the database holds a view or a trigger, and icehouse makes none"
    elif "too big" in words:
        msg = f"the database holds a value of more than {LARGEST:,} bytes, and icehouse writes none"
    elif "Could not decode" in words or "integer overflow" in words or (state or "").startswith("22"):
        msg = "the database holds a value of a type or size that icehouse never writes"
    else:
        return
    raise SealError(msg, hint=_HINT) from raised


def whole(name: str, value: object, most: int = MOST, least: int = 0) -> int:
    """A number that is one, from `least` to `most`; raises `SealError`."""
    if type(value) is not int or not least <= value <= most:
        not_ours(name, value)
    return value


def moment(name: str, value: object) -> int:
    """Seconds since 1970; raises `SealError`."""
    return whole(name, value, LAST_SECOND)


def words(name: str, value: object, most: int = LARGEST) -> str:
    """Text; raises `SealError`."""
    if type(value) is not str or len(value) > most:
        not_ours(name, value)
    return value


def raw(name: str, value: object) -> bytes:
    """Bytes; raises `SealError`."""
    if type(value) is not bytes:
        not_ours(name, value)
    return value


def not_ours(name: str, value: object) -> NoReturn:
    """Raise `SealError` for a value that icehouse never writes. It is shown as far as it is short."""
    short = value[:_SHOWN] if isinstance(value, str | bytes) else value
    shown = f"{short!r}{'' if short is value or short == value else '…'}"
    msg = f"{name} holds {shown}, which icehouse never writes"
    raise SealError(msg, hint=_HINT)
