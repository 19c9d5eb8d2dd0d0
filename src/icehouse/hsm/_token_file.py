"""A software token in a file: encrypted under a PIN, shared by processes, never half written."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icehouse._core import SoftwareToken
from icehouse.errors import HsmUnavailableError, RequestError
from icehouse.hsm._hsm import reopening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LOCK_SECONDS = 10.0


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
        self._path = path
        self._pin_file = pin_file
        # Replaced as a whole, so that threads see one reading or the other, and a fork's child reads anew.
        self._seen = self._read()

    @classmethod
    def create(cls, path: Path, pin_file: Path) -> TokenFile:
        """Make an empty token in a new file; an existing one is never touched."""
        content = SoftwareToken().to_file(pin_file)
        try:
            new = _write_beside(path, content)
            try:
                # Unlike a rename, a link refuses a name that is taken.
                os.link(new, path)
            finally:
                new.unlink()
            _sync_directory(path.parent)
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
            new = _write_beside(self._path, content)
            try:
                self._must_be(expected)
                new.rename(self._path)
            except BaseException:
                with suppress(OSError):
                    new.unlink()
                raise
            _sync_directory(self._path.parent)
        except OSError as exc:
            raise _away(self._path, exc) from exc

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the sibling lock file; opened anew each time, so that threads exclude each other too."""
        lock = self._path.with_name(self._path.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise _away(self._path, exc) from exc
        try:
            _wait_for(descriptor, self._path)
            yield
        finally:
            os.close(descriptor)


def _wait_for(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                msg = f"another process has held the lock of {path} for {_LOCK_SECONDS:g} seconds"
                raise HsmUnavailableError(msg) from None
            time.sleep(0.005)
        else:
            return


def _stamp_of(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _write_beside(path: Path, content: bytes) -> Path:
    """Write a new file in the same directory, durable before it gets the name."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    return new


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _away(path: Path, exc: OSError) -> HsmUnavailableError:
    # A missing file is a token that is away. It never means that its keys were destroyed.
    return HsmUnavailableError(
        f"the token file {path} cannot be reached: {exc.strerror}",
        hint="is its disk mounted? A token that never existed must be created first",
    )
