"""What callers hand over, looked at before it is used: a wrong type is a wrong request.

The value is not repeated: it may be a secret that was put in the wrong place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from icehouse.errors import RequestError

T = TypeVar("T")


def instance(value: object, kind: type[T], name: str, words: str) -> T:
    """Return a value of this type, which `words` call so, or raise `RequestError`."""
    if not isinstance(value, kind):
        refuse(value, name, words)
    return value


def refuse(value: object, name: str, words: str) -> NoReturn:
    """Raise `RequestError` for a value that is not what `words` call it."""
    msg = f"{name} must be {words}, not of the type {type(value).__name__}"
    raise RequestError(msg)


def text(value: object, name: str) -> str:
    """Return text, or raise `RequestError`."""
    return instance(value, str, name, "text")


def number(value: object, name: str) -> int:
    """Return a whole number, or raise `RequestError`; True and False are none."""
    if isinstance(value, bool):
        refuse(value, name, "a whole number")
    return instance(value, int, name, "a whole number")


def flag(value: object, name: str) -> bool:
    """Return True or False, or raise `RequestError`: "no" would count as yes."""
    return instance(value, bool, name, "True or False")


def octets(value: object, name: str) -> bytes:
    """Return bytes, or raise `RequestError`."""
    return value if isinstance(value, bytes) else bytes(instance(value, bytearray | memoryview, name, "bytes"))  # type: ignore[arg-type]


def place(value: object, name: str) -> Path:
    """Return a path, or raise `RequestError`."""
    path = value if isinstance(value, Path) else Path(instance(value, str | os.PathLike, name, "a path"))  # type: ignore[arg-type]
    if "\0" in str(path):
        msg = f"{name} must be a path, and none has the character U+0000"
        raise RequestError(msg)
    return path


def several(value: object, name: str) -> Iterable[object]:
    """Return a list or another iterable, or raise `RequestError`: text alone would be taken letter by letter."""
    if isinstance(value, str | bytes | bytearray):
        refuse(value, name, "a list")
    return instance(value, Iterable, name, "a list")  # type: ignore[type-abstract]


def texts(value: object, name: str) -> list[str]:
    """Return a list of text, or raise `RequestError`."""
    return [text(each, f"each of {name}") for each in several(value, name)]


def numbers(value: object, name: str) -> list[int]:
    """Return a list of whole numbers, or raise `RequestError`."""
    return [number(each, f"each of {name}") for each in several(value, name)]


def mapping(value: object, name: str) -> Mapping[Any, Any]:
    """Return a dictionary, or raise `RequestError`."""
    return instance(value, Mapping, name, "a dictionary")  # type: ignore[type-abstract]


def function(value: object, name: str) -> None:
    """Raise `RequestError` for what cannot be called."""
    if not callable(value):
        refuse(value, name, "a function")
