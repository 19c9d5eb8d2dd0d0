"""The parts of HSM URIs, parsed strictly: what is not understood is refused, never skipped."""

from __future__ import annotations

import ipaddress
import math
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

from icehouse.errors import RequestError

_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)
_HOST = re.compile(r"(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):(?P<port>[0-9]{1,5})", re.ASCII)
_MAX_PORT = 65_535
_MAX_DEADLINE = 600
_MAX_CONCURRENCY = 1_000
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def decoded(text: str, what: str) -> str:
    """Undo percent-encoding; `what` names the part in an error."""
    if _BAD_ESCAPE.search(text):
        msg = f"{what} of the HSM URI has a '%' that is not followed by two hexadecimal digits"
        raise RequestError(msg)
    try:
        plain = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        msg = f"{what} of the HSM URI is not UTF-8"
        raise RequestError(msg) from None
    if "\0" in plain:
        msg = f"{what} of the HSM URI has a zero byte"
        raise RequestError(msg)
    return plain


def pairs(text: str, separator: str) -> list[tuple[str, str]]:
    """The `name=value` parts of a URI, in order and decoded."""
    found = []
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if name == "pin-value":
            msg = "an HSM URI must not carry a PIN (pin-value)"
            raise RequestError(msg, hint="put the PIN into a file and name it: pin-source=file:/path/to/pin")
        if not name or not equals:
            # The part itself may be a PIN that went astray.
            msg = f"an HSM URI's attributes must read name=value, separated by '{separator}'"
            raise RequestError(msg)
        found.append((name, decoded(value, name)))
    return found


def single(found: list[tuple[str, str]], known: frozenset[str]) -> dict[str, str]:
    """The parts as a mapping; an unknown or a repeated name is refused."""
    values: dict[str, str] = {}
    for name, value in found:
        if name not in known:
            msg = f"an HSM URI of this scheme knows {', '.join(sorted(known))}, not {name!r}"
            raise RequestError(msg)
        if name in values:
            msg = f"an HSM URI must name {name} once"
            raise RequestError(msg)
        values[name] = value
    return values


def count(name: str, text: str) -> int:
    """A whole number of at most 18 digits, so that it fits wherever it goes."""
    if not _COUNT.fullmatch(text):
        msg = f"{name} must be a whole number, not {text[:32]!r}"
        raise RequestError(msg)
    return int(text)


def pin_file(source: str | None) -> Path:
    """The file that a `pin-source` names."""
    if source is None or not source.startswith("file:") or source == "file:":
        msg = "an HSM URI must say where its PIN is: pin-source=file:PATH"
        raise RequestError(msg, hint="a PIN is read from a file only, never from a command or the URI itself")
    path = source.removeprefix("file:")
    # file:///path is the same file as file:/path; a host between the slashes is not supported.
    if path.startswith("//"):
        path = path.removeprefix("//")
        if not path.startswith("/"):
            msg = "a pin-source must name a file on this machine: file:/path or file:///path"
            raise RequestError(msg)
    return Path(path)


def pin_file_or_empty(source: str | None) -> Path | None:
    """The same, or None where the URI says that the PIN is empty, as some databases without a password want it."""
    return None if source == "empty:" else pin_file(source)


def address(text: str) -> str:
    """Return `endpoint`, which names a host and a port, or raise `RequestError`."""
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"]) <= _MAX_PORT:
        msg = f"endpoint must read HOST:PORT, not {text[:64]!r}"
        raise RequestError(msg)
    return text


def insecure(text: str, endpoint: str) -> bool:
    """Whether to do without TLS, which is for a server on this machine only."""
    if text not in {"0", "1"}:
        msg = f"insecure must be 0 or 1, not {text[:32]!r}"
        raise RequestError(msg)
    if text == "1" and not _loopback(endpoint.rpartition(":")[0].strip("[]")):
        msg = f"insecure=1 is for a loopback address only, and {endpoint} is none"
        raise RequestError(msg, hint="data keys would cross the network in the clear")
    return text == "1"


def _loopback(host: str) -> bool:
    # A name, even `localhost`, is whatever a resolver says.
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def seconds(text: str) -> float:
    """A `deadline`."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found <= _MAX_DEADLINE:
        msg = f"deadline must be a number of seconds above 0 and at most {_MAX_DEADLINE}, not {text[:32]!r}"
        raise RequestError(msg)
    return found


def calls_at_once(text: str) -> int:
    """A `concurrency`."""
    calls = count("concurrency", text)
    if not 0 < calls <= _MAX_CONCURRENCY:
        msg = f"concurrency must be between 1 and {_MAX_CONCURRENCY}, not {calls}"
        raise RequestError(msg)
    return calls
