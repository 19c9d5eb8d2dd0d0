"""Files of secrets that icehouse reads and did not make: PINs, passphrases, tokens. Others must not be able to."""

from __future__ import annotations

import logging
import os
import stat
from typing import TYPE_CHECKING

from icehouse.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BUT_GROUP_READS = _OTHERS & ~stat.S_IRGRP
_ROOT = 0
_logger = logging.getLogger("icehouse")


def check_private(path: Path, what: str, *, shared: bool = False) -> None:
    """Refuse a file that others can read or write. `shared`: its group may read it, as it may root's files anyway.

    What is no file, such as a pipe, has no others. A file of root's on a mount of its own has the mode that the mount
    gives it, as a secret in a container has: that is warned of. One that cannot be looked at is its reader's to report.
    """
    try:
        status = path.stat()
    except OSError:
        return
    mode, is_roots = stat.S_IMODE(status.st_mode), status.st_uid == _ROOT
    if not stat.S_ISREG(status.st_mode) or not mode & (_BUT_GROUP_READS if shared or is_roots else _OTHERS):
        return
    words = f"other users can read or change the {what} {path}: its mode is {mode:04o}"
    if is_roots and status.st_dev != os.stat("/").st_dev:  # noqa: PTH116  one call, as above
        _logger.warning("%s, which its mount decides", words)
        return
    raise RequestError(words, hint=f"make it private: chmod 600 {path}")


def warn_if_shared(path: Path, what: str) -> None:
    """Say so where others can read a file whose secret is good for one use, or is worth little by itself."""
    try:
        check_private(path, what)
    except RequestError as exc:
        _logger.warning("%s", exc)
