"""Falling back to software: what stands in for an HSM that cannot be opened, and how loudly that is said."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from icehouse.custody import Verb, check_allowed, custody_class
from icehouse.errors import FallbackWarning, HsmUnavailableError, RequestError
from icehouse.hsm import AbsentHsm, labelled, open_hsm
from icehouse.hsm.simulated.simulated import SimulatedHsm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icehouse.hsm import Hsm
    from icehouse.vault.settings import Settings

_logger = logging.getLogger("icehouse")
_HINT = "simulated:PATH?pin-source=file:PINFILE"


def check_fallback(settings: Settings, *, outlives: bool) -> None:
    """Refuse a fallback that is none; `outlives`: the database is there after the process ended."""
    uri = settings.fallback_uri
    scheme, _, rest = uri.partition(":")
    if scheme != "simulated":
        # Not the whole URI: whoever gets the form wrong may have put a PIN into it.
        msg = f"a fallback must be a simulated: module, not {scheme}:"
        raise RequestError(msg, hint=_HINT)
    if outlives and not rest.partition("?")[0]:
        msg = "a fallback in memory forgets its keys with the process; this vault would outlive them"
        raise RequestError(msg, hint=f"name a file and where its PIN is: {_HINT}")
    if simulated_file(uri) in {simulated_file(other) for other in (settings.hsm_uri, settings.claim_uri)} - {None}:
        msg = "a fallback must be another module than the HSM that it stands in for"
        raise RequestError(msg)


def check_stand_in(settings: Settings, custody: str) -> None:
    """Refuse a fallback for a vault that could never leave it again."""
    if settings.fallback_uri:
        check_allowed(custody_class(custody), Verb.FALL_BACK)


def simulated_file(uri: str) -> Path | None:
    """The file of a simulated HSM, of any other HSM None."""
    scheme, _, rest = uri.partition(":")
    return Path(unquote(rest.partition("?")[0])) if scheme == "simulated" else None


def open_stand_in(settings: Settings, opened: dict[str, Hsm], *, ever: bool) -> Hsm:
    """Open the module that stands in, whether or not it is needed now: that it works is known before it is.

    Its file is made where there is none, unless it had keys before: then it is away, and another is no help.
    """
    uri = settings.fallback_uri
    if uri not in opened:
        path = simulated_file(uri)
        # An empty path is the current directory, which is there: a module in memory is just opened.
        missing = path is not None and not path.exists()
        opened[uri] = _made(uri) if missing and not ever else SimulatedHsm.open(uri, standing_by=True)
    return opened[uri]


def make_stand_in(uri: str) -> Hsm:
    """Make the file of the module that stands in; one that is there is refused."""
    return SimulatedHsm.open(uri, create=True, standing_by=True)


def _made(uri: str) -> Hsm:
    try:
        return make_stand_in(uri)
    except RequestError:
        path = simulated_file(uri)
        if path is None or not path.exists():
            raise
        return SimulatedHsm.open(uri, standing_by=True)  # another process was faster


def reach(uri: str, seconds: float) -> Hsm:
    """Open an HSM, or have it looked for again. Only one that cannot be reached is away; one that refuses is not."""
    try:
        return _reached(uri)
    except HsmUnavailableError as exc:
        return AbsentHsm(uri, lambda: _reached(uri), exc, seconds)


def _reached(uri: str) -> Hsm:
    hsm = open_hsm(uri)
    try:
        # Some providers say only at the first question that nobody is there.
        labelled(hsm, "icehouse-nobody")
    except BaseException:
        hsm.close()
        raise
    return hsm


def warn_of(absent: Sequence[AbsentHsm]) -> None:
    """Say that the HSM is away and what that means: as a warning of Python's, and to whoever is on call."""
    causes = "; ".join(dict.fromkeys(str(hsm.cause) for hsm in absent))
    words = (
        f"FALLING BACK TO SOFTWARE: the HSM cannot be opened ({causes}). Until it is back, new keys are made in a "
        "software module that protects nothing a file would not; they are marked so for ever. Keys under the HSM are "
        "not served. Once it is back, 'icehouse rewrap' promotes them"
    )
    _warn(words)


def warn_of_no_roots() -> None:
    """Say that a vault which was made while its HSM was away is in software still, although that is back."""
    words = (
        "STILL IN SOFTWARE: this vault was made while its HSM was away and has no root key there, so new keys are made "
        "in a software module that protects nothing a file would not. 'icehouse rewrap' makes the root keys"
    )
    _warn(words)


def _warn(words: str) -> None:
    _logger.critical("ALARM: %s", words)
    warnings.warn(words, FallbackWarning, stacklevel=3)
