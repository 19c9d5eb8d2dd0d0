"""Where a device is kept: an age file that is locked while open, compared before every write, never half written."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from icehouse._core import DeviceState, Passphrase
from icehouse.errors import ConflictError, RequestError, StoreError
from icehouse.files import durable_file
from icehouse.files.file_lock import FileLock

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

DEFAULT_WORK_FACTOR = 16
"""log2 of scrypt's N: 64 MiB and a fifth of a second, which a phone can still give."""


class MemoryFile:
    """A device that is kept nowhere: it lives as long as its process."""

    path: Path | None = None

    def check_open(self) -> None:
        """Nothing to have been closed."""

    def check(self) -> None:
        """Nothing to write to."""

    def write(self, state: DeviceState) -> None:
        """Nothing to write to."""

    def close(self) -> None:
        """Nothing to close."""


class DeviceFile:
    """A device's encrypted file. Its own path is where it really lies; people are told the one they gave."""

    def __init__(self, path: Path, real: Path, passphrase: Passphrase, work_factor: int) -> None:
        self.path: Path | None = path
        self._file = real
        self._passphrase = passphrase
        self._work_factor = work_factor
        # What the file may hold if nobody else wrote it. Two, where a write failed: it may have been done all the same.
        self._ours: tuple[bytes | None, ...] = (None,)
        self._closed = False
        self._may_write = _may_write(real.parent)
        self._lock = _lock(path, real, to_write=self._may_write)

    @classmethod
    def create(cls, path: Path, passphrase: Passphrase, work_factor: int, state: DeviceState) -> Self:
        """Write a new file; raises `ConflictError` where one is already, or a link, whatever it leads to."""
        try:
            real = durable_file.real(path.parent) / path.name
        except OSError as exc:
            msg = f"the directory of {path} cannot be used: {exc.strerror}"
            raise RequestError(msg) from exc
        if not _may_write(real.parent):
            msg = f"the directory of {path} cannot be written by this user"
            raise RequestError(msg, hint="choose another path, or mend the permissions")
        own = cls(path, real, passphrase, work_factor)
        try:
            own._write_first(state)
        except BaseException:
            own.close()
            raise
        return own

    def _write_first(self, state: DeviceState) -> None:
        if os.path.lexists(self._file):
            msg = f"{self.path} exists already; a device file is never overwritten"
            raise ConflictError(msg, hint="choose another path, or open the device that is there")
        self.write(state)

    @classmethod
    def open(cls, path: Path, passphrase: Passphrase) -> tuple[Self, DeviceState]:
        """Read a file that is there; raises `RequestError` for a wrong passphrase, `SealError` for damage.

        In a directory that may not be written it opens all the same, and refuses what would change it.
        """
        if not path.is_file():
            msg = f"there is no device file at {path}"
            raise RequestError(msg)
        # Links are followed once, before anything is locked: one device, one lock, whatever it is called.
        own = cls(path, durable_file.real(path), passphrase, DEFAULT_WORK_FACTOR)
        try:
            content = own._read_first()
            own._work_factor = _work_factor_of(content)
            state = DeviceState.from_file(content, passphrase)
        except BaseException:
            own.close()
            raise
        return own, state

    def _read_first(self) -> bytes:
        try:
            if self._may_write:
                durable_file.sweep(self._file)
                durable_file.check_one_name(self._file)
            content = self._file.read_bytes()
        except OSError as exc:
            msg = f"the device file {self.path} cannot be opened: {exc.strerror}"
            raise RequestError(msg, hint=_hint(self._file)) from exc
        self._ours = (content,)
        return content

    def check_open(self) -> None:
        """Refuse to go on with a device that others may have opened meanwhile."""
        if self._closed:
            msg = f"the device {self.path} was closed"
            raise RequestError(msg, hint="open it again")

    def check(self) -> None:
        """Refuse a change before it is made, where it is known already that it could not be kept."""
        self.check_open()
        if not self._may_write:
            msg = f"the device file {self.path} cannot be written: its directory may not be written"
            hint = (
                "let its user write the directory, then open the device again; signing needs that only for a rotation"
            )
            raise StoreError(msg, hint=hint)

    def write(self, state: DeviceState) -> None:
        """Make the device durable, if the file is still the one that was read."""
        self.check()
        present = self._present()
        if present not in self._ours:
            msg = f"{self.path} was changed by someone else since it was read; nothing was written"
            raise ConflictError(msg)
        content = state.to_file(self._passphrase, self._work_factor)
        self._ours = (present, content)
        try:
            if present is None:
                durable_file.create(self._file, content)
            else:
                durable_file.replace(self._file, content, mode=durable_file.PRIVATE)
        except OSError as exc:
            msg = f"the device file {self.path} cannot be written: {exc.strerror}"
            hint = "nothing was sent on the strength of it; make room or mend the permissions, then repeat"
            raise StoreError(msg, hint=hint) from exc
        self._ours = (content,)

    def _present(self) -> bytes | None:
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            msg = f"the device file {self.path} cannot be read: {exc.strerror}"
            raise RequestError(msg) from exc

    def close(self) -> None:
        """Let others open the device; a second call does nothing."""
        self._closed = True
        if self._lock is not None:
            self._lock.release()


def _may_write(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _lock(path: Path, real: Path, *, to_write: bool) -> FileLock | None:
    lock = real.with_name(f".{real.name}.lock")
    try:
        if to_write:
            return FileLock.on(lock, real)
        with suppress(FileNotFoundError, PermissionError):
            return FileLock.to_read(lock)
    except BlockingIOError as exc:
        msg = f"the device {path} is open in another process, or by another part of this one"
        raise ConflictError(msg, hint="wait until it is done") from exc
    except OSError as exc:
        msg = f"the lock of the device {path} cannot be had: {lock}: {exc.strerror}"
        raise RequestError(msg, hint="directory, device and lock file must belong to whoever opens it") from exc
    # Nobody without rights on the directory changes the device, and a new file comes whole: reading needs no lock.
    return None


def _hint(path: Path) -> str | None:
    try:
        several = path.lstat().st_nlink > 1
    except OSError:
        return None
    return f"remove its other names: find / -xdev -samefile {path}" if several else None


def _work_factor_of(content: bytes) -> int:
    """The work factor in the header line `-> scrypt SALT FACTOR`, so that a rewrite keeps it."""
    words = content[:200].split(b"\n", 2)[1:2]
    factor = words[0].split(b" ")[-1] if words else b""
    return int(factor) if factor.isdigit() else DEFAULT_WORK_FACTOR
