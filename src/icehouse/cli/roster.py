"""A file with one user a line, read as it comes; bad lines are reported by number and passed over."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing, contextmanager
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from icehouse.cli.printer import say
from icehouse.errors import RequestError, StoreError
from icehouse.model import MAX_NAME_BYTES, check_user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 4096


class Roster:
    """The lines of an open file. `rejected` counts those that are no user's name, or one that came before."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self.rejected = 0

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open a file, or standard input for `-`; raises `RequestError`."""
        if str(path) == "-":
            yield cls(sys.stdin.buffer, "standard input")
            return
        try:
            file = path.open("rb")
            file.read(0 if path.is_file() else 1)
        except OSError as exc:
            msg = f"{path} cannot be read: {exc.strerror}"
            raise RequestError(msg) from exc
        with file:
            yield cls(file, str(path))

    def users(self) -> Iterator[str]:
        """The good lines; each bad one is reported and counted."""
        with closing(_Seen()) as seen:
            for number, line in enumerate(_lines(self._file), start=1):
                try:
                    user = _user(line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line)
                    seen.add(user)
                except RequestError as exc:
                    self.rejected += 1
                    say(f"error: {self._name}:{number}: {exc}")
                else:
                    yield user

    def rehearse(self) -> None:
        """Look at every line before any is used."""
        if not self._file.seekable():
            # What comes through a pipe comes once. A file without a name goes with the process.
            kept = TemporaryFile()  # noqa: SIM115  it must outlive this function
            copyfileobj(self._file, kept)
            kept.seek(0)
            self._file = kept
        for _ in self.users():
            pass
        self._file.seek(0)


class _Seen:
    """The names of earlier lines, in a database without a name that grows on disk: memory stays bounded."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA cache_size=-16384")
        self._database.execute("CREATE TABLE seen (name TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, name: str) -> None:
        """Raises `RequestError` for a name that came before."""
        try:
            self._database.execute("INSERT INTO seen VALUES (?)", (name,))
        except sqlite3.IntegrityError:
            msg = "this user is on an earlier line already"
            raise RequestError(msg) from None
        except sqlite3.OperationalError as exc:
            msg = f"the users of the file cannot be told apart: {exc}"
            hint = "make room in the directory for temporary files, or name another with SQLITE_TMPDIR"
            raise StoreError(msg, hint=hint) from exc

    def close(self) -> None:
        self._database.close()


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines without their ends; of one that is far too long, only its beginning, so that memory stays bounded."""
    while line := file.readline(_CHUNK):
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(_CHUNK)):
            pass
        yield line.removesuffix(b"\n").removesuffix(b"\r")


def _user(line: bytes) -> str:
    if len(line) > MAX_NAME_BYTES:
        msg = f"a user's name must be 1 to {MAX_NAME_BYTES} bytes of UTF-8; this line is longer"
        raise RequestError(msg)
    try:
        return check_user(line.decode())
    except UnicodeDecodeError:
        msg = "a user's name must be UTF-8"
        raise RequestError(msg) from None
