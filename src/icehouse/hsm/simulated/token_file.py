"""A software token in a file: encrypted under a PIN, shared by processes, never half written."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icehouse._core import SoftwareToken
from icehouse.errors import HsmRefusedError, HsmUnavailableError, RequestError
from icehouse.files import durable_file
from icehouse.files.file_lock import FileLock
from icehouse.hsm.protocol import reopening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LOCK_SECONDS = 10.0
_LASTING = {errno.EMLINK, errno.EPERM}
"""What does not pass by itself: a file of several names, or one whose owner cannot be kept."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The file as it was when this process last read it."""

    pid: int
    stamp: tuple[int, int, int]
    content: bytes
    token: SoftwareToken


class TokenFile:
    """Reads the token again whenever another process changed its file; needs no lock to be read."""

    __slots__ = ("_path", "_pin_file", "_seen")

    def __init__(self, path: Path, pin_file: Path) -> None:
        try:
            # Links are followed once: every process locks and replaces the file itself, whatever it calls it.
            self._path = durable_file.real(path)
        except OSError as exc:
            raise _away(path, exc) from exc
        self._pin_file = pin_file
        # Replaced as a whole, so that threads see one reading or the other, and a fork's child reads anew.
        self._seen = self._read()

    @classmethod
    def create(cls, path: Path, pin_file: Path) -> TokenFile:
        """Make an empty token in a new file; an existing one is never touched."""
        content = SoftwareToken().to_file(pin_file)
        try:
            with FileLock.on(_lock_of(path), path, _LOCK_SECONDS):
                durable_file.create(path, content)
        except FileExistsError:
            msg = f"the token file {path} exists already, and nothing is ever overwritten"
            raise RequestError(msg, hint="open it as it is, or choose another path") from None
        except OSError as exc:
            msg = f"the token file {path} cannot be made: {exc.strerror}"
            raise RequestError(msg) from exc
        return cls(path, pin_file)

    def token(self) -> SoftwareToken:
        """The token as it is in the file now."""
        seen = self._seen
        if seen.pid != os.getpid() or seen.stamp != self._stamp():
            with reopening():
                seen = self._seen = self._read()
        return seen.token

    def log_in(self) -> None:
        """Read the PIN and the file again, whatever was read before."""
        with reopening():
            self._seen = self._read()

    def change(self, apply: Callable[[SoftwareToken], None]) -> None:
        """Apply a change to the token and make it durable, after every other process's changes."""
        with reopening(), self._locked():
            before = self._read()
            token = before.token.copy()
            apply(token)
            self._replace(before.content, token.to_file(self._pin_file))
            self._seen = self._read()

    def _stamp(self) -> tuple[int, int, int]:
        try:
            return _stamp_of(self._path.stat())
        except OSError as exc:
            raise _away(self._path, exc) from exc

    def _read(self) -> _Seen:
        try:
            with self._path.open("rb") as file:
                stamp = _stamp_of(os.fstat(file.fileno()))
                content = file.read()
        except OSError as exc:
            raise _away(self._path, exc) from exc
        return _Seen(os.getpid(), stamp, content, SoftwareToken.from_file(content, self._pin_file))

    def _must_be(self, expected: bytes) -> None:
        if self._path.read_bytes() != expected:
            msg = f"the token file {self._path} was changed by someone who did not lock it"
            raise HsmUnavailableError(msg)

    def _replace(self, expected: bytes, content: bytes) -> None:
        try:
            self._must_be(expected)
            durable_file.replace(self._path, content)
        except OSError as exc:
            if exc.errno not in _LASTING:
                raise _away(self._path, exc) from exc
            msg = f"the token file {self._path} cannot be replaced: {exc.strerror}"
            raise HsmRefusedError(msg) from exc

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock beside the file; taken anew each time, so that threads exclude each other too."""
        try:
            lock = FileLock.on(_lock_of(self._path), self._path, _LOCK_SECONDS)
        except BlockingIOError:
            msg = f"another process has held the lock of {self._path} for {_LOCK_SECONDS:g} seconds"
            raise HsmUnavailableError(msg) from None
        except OSError as exc:
            raise _away(self._path, exc) from exc
        with lock:
            try:
                durable_file.sweep(self._path)
            except OSError as exc:
                raise _away(self._path, exc) from exc
            yield


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _stamp_of(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _away(path: Path, exc: OSError) -> HsmUnavailableError:
    # A missing file is a token that is away. It never means that its keys were destroyed.
    return HsmUnavailableError(
        f"the token file {path} cannot be reached: {exc.strerror}",
        hint="is its disk mounted? A token that never existed must be created first",
    )
