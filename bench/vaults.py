"""Throw-away vaults: a SQLite file written with `synchronous=FULL`, a simulated HSM in a file beside it."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from icehouse import create_hsm_frost
from icehouse.hsm import open_hsm

if TYPE_CHECKING:
    from pathlib import Path

    from icehouse import FrostService


class Footprint(NamedTuple):
    """A database's size after a checkpoint; `used` leaves out pages that are free for the next rows."""

    file: int
    used: int


def make(directory: Path) -> FrostService:
    """A new vault in an empty directory."""
    logging.getLogger("icehouse").setLevel(logging.ERROR)
    directory.mkdir()
    pin = directory / "pin"
    pin.touch(mode=0o600)
    pin.write_text("bench-only", encoding="utf-8")
    open_hsm(f"simulated:{directory}/token?pin-source=file:{pin}", create=True).close()
    return reopen(directory)


def reopen(directory: Path) -> FrostService:
    """The vault of a directory, as another process opens it."""
    logging.getLogger("icehouse").setLevel(logging.ERROR)
    config = {"path": str(directory / "token"), "pin_source": str(directory / "pin")}
    return create_hsm_frost("simulated", config, store=f"sqlite:///{directory / 'vault.db'}")


def make_in_memory() -> FrostService:
    """A new vault that leaves no file."""
    logging.getLogger("icehouse").setLevel(logging.ERROR)
    return create_hsm_frost("simulated")


def footprint(directory: Path) -> Footprint:
    """Checkpoint the write-ahead log, then measure the file and its pages, indexes included."""
    connection = sqlite3.connect(directory / "vault.db")
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            msg = "the database is in use: its write-ahead log cannot be checkpointed"
            raise RuntimeError(msg)
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    finally:
        connection.close()
    return Footprint((directory / "vault.db").stat().st_size, (pages - free) * size)
