"""Which files of a vault other users of the machine can read or change."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from icehouse.store.engine import holds_password
from icehouse.vault.fallback import simulated_file
from icehouse.vault.settings import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icehouse.vault.settings import Settings

_ROOT = 0
_NAMED = 5
_SOURCE = re.compile(r"[?&][a-z-]*source=file:([^&]*)")
_SQLITE = "sqlite:///"


def exposures(place: Path, settings: Settings) -> list[str]:
    """What is to be warned of: everything in a vault's directory, and the files elsewhere that its settings name."""
    place = place.absolute()
    paths = sorted({*_inside(place), *_named(settings)})
    public = set() if holds_password(settings.store_url) else {_file(place)}
    looked = [(path, *_open_to_others(path)) for path in paths]
    readable = [path for path, read, _ in looked if read and path not in public]
    changeable = [path for path, _, change in looked if change]
    warnings = []
    if changeable:
        warnings.append(f"other users can change {_listed(changeable)}: take that from them with chmod go-w")
    if readable:
        warnings.append(f"other users can read {_listed(readable)}: take that from them with chmod go-r")
    return warnings


def _file(place: Path) -> Path:
    return place / FILE_NAME if place.is_dir() else place


def _inside(place: Path) -> Iterator[Path]:
    """A directory and all that is in it; of settings in a file of their own, that and the directory's own mode."""
    if not place.is_dir():
        yield from (place, place.parent)
        return
    yield place
    for parent, directories, files in os.walk(place):
        yield from (Path(parent) / name for name in (*directories, *files))


def _named(settings: Settings) -> Iterator[Path]:
    """The database with its journals, and the files of tokens, PINs and secrets, which may lie anywhere."""
    _, sqlite, database = settings.store_url.partition(_SQLITE)
    if sqlite and not database.startswith((":", "file:")):
        yield from (Path(f"{database.partition('?')[0]}{suffix}") for suffix in ("", "-wal", "-shm"))
    uris = (settings.hsm_uri, settings.hsm_claim_uri, settings.hsm_former_uri, settings.hsm_former_claim_uri)
    for uri in (*uris, settings.fallback_uri):
        token = simulated_file(uri)
        if token is not None and token.name:
            yield token
        yield from (Path(unquote(found)) for found in _SOURCE.findall(uri))


def _open_to_others(path: Path) -> tuple[bool, bool]:
    """Whether others can read a file, and change a file or what is in a directory; a group may read root's files."""
    try:
        status = path.stat()
    except OSError:
        return False, False
    readers = stat.S_IROTH if status.st_uid == _ROOT else stat.S_IRGRP | stat.S_IROTH
    read = stat.S_ISREG(status.st_mode) and bool(status.st_mode & readers)
    return read, bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _listed(paths: list[Path]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{', '.join(map(str, paths[:_NAMED]))}{more}"
