"""Locks between processes: whoever changes a file of ours holds one, for as long as it is open or the process lives.

A sibling of the file is locked, never the file: a new file that is renamed over it would leave the lock on the old one.
Every function raises `OSError`; `BlockingIOError` says that another holds the lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from icehouse.files.durable_file import PRIVATE, keep_owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

_PAUSE_SECONDS = 0.005
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class FileLock:
    """A lock that is held until `release`. Two of one process exclude each other as those of two processes do."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def on(cls, lock: Path, guarded: Path, seconds: float = 0.0) -> Self:
        """Hold the lock file of `guarded`, made where it is missing, and then its owner's, not its maker's."""
        return cls(_held(lock, lambda: _opened(lock, guarded), fcntl.LOCK_EX, seconds))

    @classmethod
    def on_directory(cls, directory: Path, seconds: float = 0.0) -> Self:
        """Hold a directory itself, under whatever name it is reached."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        return cls(_held(directory, lambda: os.open(directory, flags), fcntl.LOCK_EX, seconds))

    @classmethod
    def to_read(cls, lock: Path) -> Self:
        """Hold a lock file that is there together with others who only read, and against whoever writes."""
        return cls(_held(lock, lambda: os.open(lock, os.O_RDONLY | _FLAGS), fcntl.LOCK_SH, 0.0))

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def _held(path: Path, opened: Callable[[], int], kind: int, seconds: float) -> int:
    """A descriptor that holds the lock, of the file that has the name now: one that was removed locks nothing."""
    until = time.monotonic() + seconds
    while True:
        descriptor = opened()
        try:
            _wait(descriptor, kind, until)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _wait(descriptor: int, kind: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _opened(lock: Path, guarded: Path) -> int:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, PRIVATE)
    except FileExistsError:
        # Without O_CREAT: a lock is never taken through a link, and nothing is made at the end of one.
        return os.open(lock, os.O_RDWR | _FLAGS)
    try:
        os.fchmod(descriptor, PRIVATE)  # whatever the umask took
        if guarded.exists():
            status = guarded.stat()
            keep_owner(descriptor, (status.st_uid, status.st_gid))
    except BaseException:
        os.close(descriptor)
        lock.unlink(missing_ok=True)
        raise
    return descriptor
