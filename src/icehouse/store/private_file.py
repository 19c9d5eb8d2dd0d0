"""A SQLite database is its owner's alone: its journals take their mode from it, and nobody's umask is asked."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from icehouse import durable_file

_MAKING = "rwc"
"""SQLite's word for opening a file that is made where there is none; what it does unless told otherwise."""


def make_private(_dialect: object, _record: object, arguments: list[Any], _options: object) -> None:
    """Before SQLite makes a database, make its file; called with what the driver is about to be called with."""
    path = _path(str(arguments[0]))
    if path is not None:
        with suppress(OSError):  # SQLite will fail for the same reason, and say so
            durable_file.make_empty(path)


def _path(name: str) -> Path | None:
    """The file that a connection by this name makes, or None where it makes none."""
    if not name.startswith("file:"):
        return None if name in {"", ":memory:"} else Path(name)
    uri = urlsplit(name)
    makes = parse_qs(uri.query).get("mode", [_MAKING])[-1] == _MAKING
    return Path(unquote(uri.path)) if makes and uri.path not in {"", ":memory:"} else None
