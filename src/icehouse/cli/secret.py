"""Secrets come from a file, the environment or a prompt; never from an argument, which every process can read."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from typing import TYPE_CHECKING

from icehouse._core import Passphrase
from icehouse.errors import RequestError
from icehouse.files.secret_file import check_private, warn_if_shared

if TYPE_CHECKING:
    from pathlib import Path

_PASSPHRASE = "ICEHOUSE_PASSPHRASE"  # noqa: S105  a variable's name
_TOKEN = "ICEHOUSE_TOKEN"  # noqa: S105  a variable's name
_TOKEN_WORDS = "the enrolment token"  # noqa: S105  its name
_MOST = 4096


def passphrase(file: Path | None) -> Passphrase:
    """The passphrase of a device file that is there."""
    return Passphrase(_given(file, _PASSPHRASE, "the passphrase") or _asked("Passphrase of the device file: "))


def new_passphrase(file: Path | None) -> Passphrase:
    """The passphrase of a device file about to be made; one that is typed is typed twice."""
    return Passphrase(_new(file, "Passphrase for the new device file: "))


def key_passphrase(file: Path | None, *, new: bool) -> str:
    """The passphrase of a key that another library encrypts, and so a `str`."""
    if new:
        return _new(file, "Passphrase for the cluster's new root key: ")
    return _given(file, _PASSPHRASE, "the passphrase") or _asked("Passphrase of the cluster's root key: ")


def _new(file: Path | None, prompt: str) -> str:
    given = _given(file, _PASSPHRASE, "the passphrase")
    if given is None:
        given = _asked(prompt)
        if _asked("The same again: ") != given:
            msg = "the two passphrases differ"
            raise RequestError(msg)
    return given


def token(file: Path | None) -> str:
    """The enrolment token that the application gave to its user."""
    return _given(file, _TOKEN, _TOKEN_WORDS) or _asked("Enrolment token: ")


def has_token(file: Path | None) -> bool:
    """Whether a token was given without a prompt."""
    return file is not None or _TOKEN in os.environ


def _given(file: Path | None, variable: str, what: str) -> str | None:
    found = os.environ.get(variable) if file is None else _read(file, what)
    if found is not None and not found:
        source = f"the environment variable {variable}" if file is None else f"the file {file}"
        msg = f"{what} must not be empty, but {source} is"
        raise RequestError(msg)
    return found


def _read(file: Path, what: str) -> str:
    # An enrolment token is good for one use, and often comes by a way that asks for no mode.
    (warn_if_shared if what == _TOKEN_WORDS else check_private)(file, f"{what.removeprefix('the ')} file")
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST + 1)
    except OSError as exc:
        msg = f"{what} cannot be read from {file}: {exc.strerror}"
        raise RequestError(msg) from exc
    try:
        text = content.decode()
    except UnicodeDecodeError:
        msg = f"{what} must be UTF-8, and the file {file} is not"
        raise RequestError(msg) from None
    if len(content) > _MOST:
        msg = f"{what} must be at most {_MOST} bytes, and the file {file} is longer"
        raise RequestError(msg)
    # One line end at the end does not belong to it, just as in a PIN file.
    return text.removesuffix("\n").removesuffix("\r")


def _asked(prompt: str) -> str:
    if not (sys.stdin.isatty() or sys.stderr.isatty()):
        msg = f"there is no terminal to ask on: {prompt.rstrip(': ').lower()}"
        hint = "give it in a file (--passphrase-file, --token-file) or the environment "
        raise RequestError(msg, hint=f"{hint}({_PASSPHRASE}, {_TOKEN})")
    typed = getpass(prompt)
    if not typed:
        msg = "nothing was typed"
        raise RequestError(msg)
    return typed
