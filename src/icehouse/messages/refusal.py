"""An authenticated no: one of the reasons of FORMATS "Messages"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icehouse.messages.authority import Authority, Speaker


class Refusal(Exception):  # noqa: N818  an answer, not an error: it never leaves `exchange`
    """The request is refused for this reason; nothing was changed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def expect(authority: Authority, *speakers: Speaker) -> None:
    """Refuse a type or purpose that is not served under this `kid`."""
    if authority.speaker not in speakers:
        reason = "wrong-epoch"
        raise Refusal(reason)
