"""A vault's directory while it is made: one maker at a time, files whole or not there, all taken back on a failure."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def undoing() -> Iterator[list[Path]]:
    """Files that are taken back when what follows fails; the last one first."""
    made: list[Path] = []
    try:
        yield made
    except BaseException as failure:
        _take_back(made)
        if isinstance(failure, OSError):
            msg = f"{failure.filename or 'the vault'} cannot be written: {failure.strerror}"
            raise StoreError(msg) from failure
        raise


def _take_back(made: list[Path]) -> None:
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


@contextmanager
def held(directory: Path, made: list[Path]) -> Iterator[None]:
    """The directory, made where it is missing, for one maker or mover at a time."""
    try:
        _make_directory(directory, made)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        msg = f"the vault's directory {directory} cannot be used: {exc.strerror}"
        raise RequestError(msg) from exc
    try:
        try:
            _lock(descriptor, directory)
        except ConflictError:
            made.clear()  # whoever holds it is about to use the directory, although it was made here
            raise
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        msg = f"another process is making or moving the vault in {directory}"
        raise ConflictError(msg, hint="wait until it is done") from exc


def _make_directory(directory: Path, made: list[Path]) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700)
        made.append(path)
        sync(path.parent)


def write_new(path: Path, content: str, made: list[Path]) -> None:
    """A new file for its owner's eyes: whole or not there, and durable."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    made.append(fresh)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    # Unlike a rename, a link refuses a name that is taken.
    os.link(fresh, path)
    made.append(path)
    fresh.unlink()
    sync(path.parent)


def sync(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sqlite_files(url: str) -> list[Path]:
    """The files that SQLite is about to make for a database that is not there."""
    _, found, path = url.partition("sqlite:///")
    if not found or Path(path).exists():
        return []
    return [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]
