"""Where a device is kept: an age file that is locked while open, compared before every write, never half written."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from icehouse._core import DeviceState, Passphrase
from icehouse.errors import ConflictError, RequestError, StoreError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

DEFAULT_WORK_FACTOR = 16
"""log2 of scrypt's N: 64 MiB and a fifth of a second, which a phone can still give."""
_PRIVATE = 0o600


class MemoryFile:
    """A device that is kept nowhere: it lives as long as its process."""

    path: Path | None = None

    def write(self, state: DeviceState) -> None:
        """Nothing to write to."""

    def close(self) -> None:
        """Nothing to close."""


class DeviceFile:
    """A device's encrypted file."""

    def __init__(self, path: Path, passphrase: Passphrase, work_factor: int) -> None:
        self.path: Path | None = path
        self._file = path
        self._passphrase = passphrase
        self._work_factor = work_factor
        self._seen: bytes | None = None
        self._lock = _lock(path)

    @classmethod
    def create(cls, path: Path, passphrase: Passphrase, work_factor: int, state: DeviceState) -> Self:
        """Write a new file; raises `ConflictError` where one is already."""
        own = cls(path, passphrase, work_factor)
        try:
            own._write_first(state)
        except BaseException:
            own.close()
            raise
        return own

    def _write_first(self, state: DeviceState) -> None:
        if self._file.exists():
            msg = f"{self._file} exists already; a device file is never overwritten"
            raise ConflictError(msg, hint="choose another path, or open the device that is there")
        self.write(state)

    @classmethod
    def open(cls, path: Path, passphrase: Passphrase) -> tuple[Self, DeviceState]:
        """Read a file that is there; raises `RequestError` for a wrong passphrase, `SealError` for damage."""
        if not path.is_file():
            msg = f"there is no device file at {path}"
            raise RequestError(msg)
        own = cls(path, passphrase, DEFAULT_WORK_FACTOR)
        try:
            own._seen = _read(path)
            own._work_factor = _work_factor_of(own._seen)
            state = DeviceState.from_file(own._seen, passphrase)
        except BaseException:
            own.close()
            raise
        return own, state

    def write(self, state: DeviceState) -> None:
        """Make the device durable: a new name, synced, renamed, the directory synced."""
        found = _read(self._file) if self._file.exists() else None
        if found != self._seen:
            msg = f"{self._file} was changed by someone else since it was read; nothing was written"
            raise ConflictError(msg)
        content = state.to_file(self._passphrase, self._work_factor)
        fresh = self._file.with_name(f".{self._file.name}.new")
        try:
            fresh.unlink(missing_ok=True)
            _write_synced(fresh, content)
            fresh.rename(self._file)
            self._seen = content
            sync_directory(self._file.parent)
        except OSError as exc:
            msg = f"the device file {self._file} cannot be written: {exc.strerror}"
            hint = "the device is as it was; make room or mend the permissions, then repeat"
            raise StoreError(msg, hint=hint) from exc

    def close(self) -> None:
        """Let others open the device; a second call does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _lock(path: Path) -> int:
    # A sibling is locked, not the file: renaming a new file over it would leave the lock on the old one.
    try:
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    except OSError as exc:
        msg = f"the directory of {path} cannot be written: {exc.strerror}"
        raise RequestError(msg) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        msg = f"the device {path} is open in another process"
        raise ConflictError(msg, hint="wait until it is done") from exc
    return descriptor


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        msg = f"the device file {path} cannot be read: {exc.strerror}"
        raise RequestError(msg) from exc


def _work_factor_of(content: bytes) -> int:
    """The work factor in the header line `-> scrypt SALT FACTOR`, so that a rewrite keeps it."""
    words = content[:200].split(b"\n", 2)[1:2]
    factor = words[0].split(b" ")[-1] if words else b""
    return int(factor) if factor.isdigit() else DEFAULT_WORK_FACTOR


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
