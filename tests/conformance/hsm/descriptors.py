"""What this process holds open, as the kernel tells it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def connections_to(port: int) -> int:
    """How many connections this process has to this port of its own machine."""
    ours = {link for link in _descriptors() if link.startswith("socket:")}
    # An IPv4 connection of gRPC's stands in the second table.
    tables = (Path("/proc/self/net", name).read_text(encoding="ascii") for name in ("tcp", "tcp6"))
    found = [line.split() for table in tables for line in table.splitlines()[1:]]
    return sum(
        remote.endswith(f":{port:04X}") and f"socket:[{inode}]" in ours
        for _, _, remote, _, _, _, _, _, _, inode, *_ in found
    )


def open_files(path: Path) -> int:
    """How many descriptors of this process name a file that starts so."""
    return sum(link.startswith(str(path)) for link in _descriptors())


def _descriptors() -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed since
            yield str(descriptor.readlink())
