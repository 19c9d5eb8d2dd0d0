"""`icehouse exchange`: a vault on standard input and output, for a device in any language."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from icehouse._core import bare_refusal, max_message_bytes
from icehouse.cli.options import VaultOption, named
from icehouse.service import FrostService

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST = max_message_bytes()


def exchange(vault: VaultOption = None) -> None:
    """Answer devices: one message a line on standard input, one answer a line on standard output."""
    with FrostService.open(named(vault)) as service:
        for line in _lines():
            answer = bare_refusal("malformed") if line is None else service.exchange(line)
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()


def _lines() -> Iterator[str | None]:
    """Each line without its end; None for one that cannot be a message."""
    while line := sys.stdin.buffer.readline(_MOST + 2):
        rest = line
        while not rest.endswith(b"\n") and (rest := sys.stdin.buffer.readline(_MOST)):
            pass
        message = line.removesuffix(b"\n")
        yield message.decode() if message.isascii() and 0 < len(message) <= _MOST else None
