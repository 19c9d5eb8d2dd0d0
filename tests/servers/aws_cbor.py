"""CBOR as the protocol smithy-rpc-v2-cbor has it, which botocore's description of CloudHSM names first."""

from __future__ import annotations

import io
from typing import Any

from botocore.parsers import BaseCBORParser

from servers.aws_clock import ApiError

_TIMES = frozenset({"CreateTimestamp", "CopyTimestamp", "DeleteTimestamp"})


def read_cbor(body: bytes) -> dict[str, Any]:
    """What a request asks for."""
    stream = io.BufferedReader(io.BytesIO(body))
    return BaseCBORParser().parse_data_item(stream) if body else {}


def written_cbor(answer: dict[str, Any] | ApiError) -> bytes:
    """An answer, or an error, which names its namespace here."""
    if isinstance(answer, ApiError):
        name = f"com.amazonaws.cloudhsmv2#{answer.code}"
        return _written({"__type": name, "message": answer.message, "Message": answer.message})
    return _written(answer)


def _written(value: Any) -> bytes:
    if isinstance(value, dict):
        rows = b"".join(_text(key) + _field(key, each) for key, each in value.items())
        return _head(5, len(value)) + rows
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(_written, value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return bytes([0xF5 if value else 0xF4])
    assert isinstance(value, int | float)
    return _head(0, int(value))


def _field(name: str, value: Any) -> bytes:
    # A time is a number of seconds under tag 1.
    return _head(6, 1) + _head(0, int(value)) if name in _TIMES else _written(value)


def _text(value: str) -> bytes:
    return _head(3, len(value.encode())) + value.encode()


def _head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes([major << 5 | count])
    size = next(each for each in range(4) if count < 1 << (8 << each))
    return bytes([major << 5 | 24 + size]) + count.to_bytes(1 << size, "big")
