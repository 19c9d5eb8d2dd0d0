"""What some custodies refuse, and with which words: a verb that a custody's facts do not name is allowed."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verb(StrEnum):
    """What may be asked of a vault, and makes no sense under every custody."""

    RESEAL = "reseal"
    RENEW = "renew"
    """New versions of the root keys in the same HSM, asked for by an operator."""
    REWRAP = "rewrap"
    """Data keys under other root keys, wherever these are."""
    MOVE = "move"
    """Root keys in another HSM."""
    FALL_BACK = "fall back"
    """New keys in a software module while the HSM cannot be opened."""
    SHARE_NODES = "share nodes"
    """A number of buckets, given when the vault is made."""
    SPLIT_CLAIM = "split claim"
    """Another HSM for the claim root key."""
    REBUILD = "rebuild"
    """The database made anew from the HSM and a list of users."""
    CONVERT = "convert"
    """Another custody in the place of this one."""


class Refusal(NamedTuple):
    """Why a custody refuses a verb; `{name}` in it is the custody's name."""

    why: str
    hint: str | None = None
