"""SQLite's write-ahead log: emptied after something was removed, or told of where somebody else keeps it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Lock

    from sqlalchemy import Connection

_TRIES = 4
_PAUSE_SECONDS = 0.05
_PATIENCE_SECONDS = 0.1
"""For how long cutting off the log waits for those who write, and then for those who read, who keep writers waiting."""
_READ_MARKS = range(123, 128)
"""The bytes of the `-shm` file that whoever reads an older state locks: https://www.sqlite.org/walformat.html#locks"""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Files in which what was removed may still lie, and which processes keep it there, as far as can be told."""

    files: tuple[str, ...]
    readers: tuple[str, ...] = ()

    def __str__(self) -> str:
        who = "another process, such as a backup tool, keeps them in use"
        if self.readers:
            who = f"{', '.join(self.readers)} reads an older state of the database"
        return f"what was removed may still lie in {' and '.join(self.files)}: {who}"

    @property
    def hint(self) -> str:
        """What ends it."""
        return "end that, or wait for it; then 'icehouse trim' empties the journal"


def empty(connection: Connection, turn: Lock) -> Leftover | None:
    """Bring the log into the database and cut it off; what is left where that would take long.

    `turn` is held while this process writes.
    """
    connection.exec_driver_sql(f"PRAGMA busy_timeout={_PATIENCE_SECONDS * 1000:.0f}")
    whole = False
    for attempt in range(_TRIES):
        if attempt:
            sleep(_PAUSE_SECONDS)
        # This one holds nobody up, however much it has to copy. The other keeps writers out, and finds little left.
        whole = _is_whole(connection, "PASSIVE")
        if whole and _is_cut_off(connection, turn):
            return None
    file = connection.exec_driver_sql("PRAGMA database_list").one()[2]
    log = f"{file}-wal"
    return Leftover((log,) if whole else (file, log), tuple(_readers(file)))


def _is_cut_off(connection: Connection, turn: Lock) -> bool:
    # Else SQLite would find this process's writers in the way again and again, where there are many.
    if not turn.acquire(timeout=_PATIENCE_SECONDS):
        return False
    try:
        return _is_whole(connection, "TRUNCATE")
    finally:
        turn.release()


def _is_whole(connection: Connection, mode: str) -> bool:
    """Whether a checkpoint did all that it is for; SQLite says so in a row, and raises nothing where it did not."""
    busy, frames, copied = connection.exec_driver_sql(f"PRAGMA wal_checkpoint({mode})").one()
    return not busy and frames == copied


def _readers(file: str) -> Iterator[str]:
    """The processes that lock a state of the database, by Linux's list of locks; none where it tells nothing.

    The file itself is not opened to ask: closing it would drop this process's own locks on it.
    """
    with suppress(OSError):
        inode = Path(f"{file}-shm").stat().st_ino
        for pid in dict.fromkeys(_holders(Path("/proc/locks").read_text(encoding="ascii"), inode)):
            name = "this one" if pid == os.getpid() else Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
            yield f"process {pid} ({name})"


def _holders(locks: str, inode: int) -> Iterator[int]:
    for line in locks.splitlines():
        # 1: POSIX ADVISORY READ 4711 08:01:1234 124 124
        fields = line.split()
        if len(fields) != 8 or fields[1] != "POSIX" or fields[5].rpartition(":")[2] != str(inode):  # noqa: PLR2004
            continue
        first, last = int(fields[6]), fields[7]
        if first in _READ_MARKS and last != "EOF" and int(fields[4]) > 0:
            yield int(fields[4])
