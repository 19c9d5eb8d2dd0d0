"""Files of ours: whole or not there, durable, with one name, and still their owner's. Only this module writes them.

Every function raises `OSError`, which its callers put into their own words: its `strerror` is part of a sentence. Who
writes a file, or sweeps beside it, holds its lock (`icehouse.files.file_lock`).
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
"""For its owner's eyes alone."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def real(path: Path) -> Path:
    """Where a file that is there lies, whatever links lead to it: there it is locked, and there it is replaced."""
    return Path(os.path.realpath(path, strict=True))


def check_one_name(path: Path) -> None:
    """Refuse a file with hard links: after it was replaced, its other names would go on holding what is dead."""
    _check_one_name(path.lstat())


def create(path: Path, content: bytes) -> None:
    """Write a new private file. Raises `FileExistsError` where the name is taken, be it by a link to nothing."""
    fresh = _written_beside(path, content, PRIVATE)
    try:
        # Unlike a rename, a link refuses a name that is taken.
        os.link(fresh, path)
    finally:
        fresh.unlink()
    sync_directory(path.parent)


def make_empty(path: Path) -> None:
    """Make an empty private file for another to fill, where there is none: whatever the umask, only its owner reads it.

    Links are followed, for that is where the other will write.
    """
    try:
        descriptor = os.open(os.path.realpath(path), _NEW, PRIVATE)
    except FileExistsError:
        return
    try:
        os.fchmod(descriptor, PRIVATE)
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Put other content into a file that is there. Its owner and group stay; so does its mode, unless one is given."""
    before = path.lstat()
    _check_one_name(before)
    kept = stat.S_IMODE(before.st_mode) if mode is None else mode
    fresh = _written_beside(path, content, kept, (before.st_uid, before.st_gid))
    try:
        fresh.rename(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
    sync_directory(path.parent)


def promote(source: Path, target: Path) -> None:
    """Give a file that is durable already its final name, which must be free."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)
    sync_directory(target.parent)


def sweep(path: Path) -> None:
    """Remove what writers of this file that were killed left beside it: it may hold secrets that are dead by now."""
    leftover = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.new")
    for beside in path.parent.iterdir():
        if leftover.fullmatch(beside.name):
            beside.unlink(missing_ok=True)


def make_directory(directory: Path) -> list[Path]:
    """Make a private directory, and those above it, where they are missing: all or none. Those made, the highest first.

    They are durable.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    made: list[Path] = []
    try:
        for path in reversed(missing):
            path.mkdir(mode=0o700)
            made.append(path)
            sync_directory(path.parent)
    except OSError:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir()
        raise
    return made


def sync(path: Path) -> None:
    """Make what anybody wrote into a file durable, and its name; where there is no such file, nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_owner(descriptor: int, owner: tuple[int, int]) -> None:
    """Give an open file of ours to a user and a group, where it is not theirs already; or refuse."""
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) == owner:
        return
    try:
        os.fchown(descriptor, *owner)
    except OSError as exc:
        words = f"it belongs to user {owner[0]} and group {owner[1]}, and a new file cannot be given to them"
        raise PermissionError(errno.EPERM, words) from exc


def _check_one_name(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if status.st_nlink > 1:
        words = f"it has {status.st_nlink} names (hard links), and the others would keep what it holds now"
        raise OSError(errno.EMLINK, words)


def _written_beside(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> Path:
    """Write a file of a name that nobody else uses, durable before it is given the one that is wanted."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(fresh, _NEW, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                keep_owner(descriptor, owner)
            os.fchmod(descriptor, mode)  # whatever the umask took
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
    return fresh
