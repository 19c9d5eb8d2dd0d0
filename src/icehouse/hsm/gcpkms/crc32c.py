"""CRC-32C, which Google Cloud KMS wants with whatever crosses the wire: by Google's own package, in C."""

from __future__ import annotations


def crc32c(content: bytes) -> int:
    """The checksum as an unsigned number of 32 bits."""
    import google_crc32c  # noqa: PLC0415  it comes with the extra `google`

    return int(google_crc32c.value(content))
