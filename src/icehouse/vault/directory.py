"""A vault's directory while it is made: one maker at a time, files whole or not there, all taken back on a failure."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, RequestError, StoreError
from icehouse.files import durable_file
from icehouse.files.file_lock import FileLock

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
        made += durable_file.make_directory(directory)
        lock = FileLock.on_directory(directory)
    except BlockingIOError as exc:
        made.clear()  # whoever holds it is about to use the directory, although it was made here
        msg = f"another process is making or moving the vault in {directory}"
        raise ConflictError(msg, hint="wait until it is done") from exc
    except OSError as exc:
        msg = f"the vault's directory {directory} cannot be used: {exc.strerror}"
        raise RequestError(msg) from exc
    with lock:
        yield


def write_new(path: Path, content: str, made: list[Path]) -> None:
    """A new file for its owner's eyes: whole or not there, and durable."""
    durable_file.sweep(path)
    durable_file.create(path, content.encode())
    made.append(path)


def sqlite_files(url: str) -> list[Path]:
    """The files that SQLite is about to make for a database that is not there."""
    _, found, path = url.partition("sqlite:///")
    if not found or Path(path).exists():
        return []
    return [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]
