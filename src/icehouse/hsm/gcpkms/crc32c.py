"""CRC-32C (Castagnoli, RFC 3720 appendix B.4), which Google Cloud KMS wants with whatever crosses the wire."""

from __future__ import annotations

_REVERSED_POLYNOMIAL = 0x82F63B78
_ALL = 0xFFFFFFFF


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_REVERSED_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_entry(byte) for byte in range(256))


def crc32c(content: bytes) -> int:
    """The checksum as an unsigned number of 32 bits. A package for this would be one more to trust with data keys."""
    crc = _ALL
    for byte in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ _ALL
