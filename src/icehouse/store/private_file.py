"""A SQLite database is its owner's alone: its journals take their mode from it, and nobody's umask is asked."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from icehouse.errors import StoreError
from icehouse.files import durable_file

_MAKING = "rwc"
"""SQLite's word for opening a file that is made where there is none; what it does unless told otherwise."""


def make_private(_dialect: object, _record: object, arguments: list[Any], _options: object) -> None:
    """Before SQLite opens a database for the first time, make its file where there is none, or look at its names.

    Called with what the driver is about to be called with.
    """
    path = _path(str(arguments[0]))
    if path is None:
        return
    with suppress(OSError):  # SQLite will fail for the same reason, and say so
        durable_file.make_empty(path)
        names = path.stat().st_nlink
        if names > 1:
            # Each name would have a journal of its own: https://sqlite.org/howtocorrupt.html, "multiple links".
            msg = f"the database {path} has {names} names (hard links), and opened by both it would be destroyed"
            raise StoreError(msg, hint=f"remove its other names: find / -xdev -samefile {path}")


def _path(name: str) -> Path | None:
    """The file that a connection by this name makes, or None where it makes none."""
    if not name.startswith("file:"):
        return None if name in {"", ":memory:"} else Path(name)
    uri = urlsplit(name)
    makes = parse_qs(uri.query).get("mode", [_MAKING])[-1] == _MAKING
    return Path(unquote(uri.path)) if makes and uri.path not in {"", ":memory:"} else None
