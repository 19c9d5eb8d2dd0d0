"""What every custody asks of its HSM: the one table that the operations model follows.

Each number is what the ceremonies do; a test runs them and counts. `touches` are the data keys (or nodes) that a
ceremony opens when the process keeps what it opened: one HSM operation each, unless it was open already. `opens`
are the same ceremony's operations in a process that keeps none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Custody(StrEnum):
    """How shares are tied to root keys. `ONE_KEY` is no custody of icehouse: it is what the original's table counts."""

    DIRECT = "direct"
    HYBRID = "hybrid"
    HIERARCHICAL = "hierarchical"
    ONE_KEY = "one-key"


WARNINGS = {
    Custody.HIERARCHICAL: (
        "hierarchical: whoever can use its master key, or a backup of it, has every user's whole key, for ever"
    ),
}
"""What a price does not say of a custody, and must be read beside it."""

CUSTODIES = (Custody.DIRECT, Custody.HYBRID, Custody.HIERARCHICAL)


class KeyKind(StrEnum):
    """What a key in an HSM is billed and counted as."""

    AES = "aes"
    HMAC = "hmac"
    EC = "ec"
    RSA = "rsa"


class Opened(NamedTuple):
    """Operations of one ceremony at the server's root key and at the claim root key."""

    server: int = 0
    claim: int = 0


_NOTHING = Opened()


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One custody. A page is up to a data key's worth of users, created together."""

    server_root: KeyKind | None
    claim_root: KeyKind | None
    opening: str
    """The operation that opens: `unwrap`, or `mac` where shares are derived."""
    keys_per_user: int = 0
    wraps_per_page: Opened = _NOTHING
    macs_per_bucket: int = 0
    """For every bucket that a month's creations touch; without buckets, for every user."""
    enrol_touches: Opened = _NOTHING
    enrol_opens: Opened = _NOTHING
    sign_touches: int = 0
    sign_opens: int = 0
    rotate_touches: int = 0
    rotate_opens: int = 0
    slots_per_offer: int = 0
    """Places under the filling data key that a claim or a rotation takes; a full one costs a wrap."""
    rewrap_per_data_key: int = 0
    """Open under the old root key, wrap under the new, open again to compare; 0 where it can never move."""
    root_versions: bool = True
    """Whether the root key may have further versions."""


AUDIT = KeyKind.EC
WRAP_BYTES = 64
"""A data key of 32 bytes and its context of 32."""
USER_KEY_WRAPS = 1
"""Direct: a data key of one's own, wrapped at creation."""

TABLE: dict[Custody, Coefficients] = {
    Custody.DIRECT: Coefficients(
        server_root=None,
        claim_root=KeyKind.AES,
        opening="unwrap",
        keys_per_user=1,
        wraps_per_page=Opened(0, 1),
        enrol_touches=Opened(1, 1),
        enrol_opens=Opened(9, 8),
        sign_touches=1,
        sign_opens=2,
        rotate_touches=1,
        rotate_opens=8,
        rewrap_per_data_key=3,
    ),
    Custody.HYBRID: Coefficients(
        server_root=KeyKind.AES,
        claim_root=KeyKind.AES,
        opening="unwrap",
        wraps_per_page=Opened(1, 1),
        enrol_touches=Opened(1, 1),
        enrol_opens=Opened(9, 8),
        sign_touches=1,
        sign_opens=2,
        rotate_touches=1,
        rotate_opens=8,
        slots_per_offer=1,
        rewrap_per_data_key=3,
    ),
    Custody.HIERARCHICAL: Coefficients(
        server_root=KeyKind.HMAC,
        claim_root=None,
        opening="mac",
        macs_per_bucket=1,
        enrol_touches=Opened(1, 0),
        enrol_opens=Opened(14, 0),
        sign_touches=1,
        sign_opens=2,
        rotate_touches=1,
        rotate_opens=8,
        root_versions=False,
    ),
    Custody.ONE_KEY: Coefficients(server_root=None, claim_root=None, opening="unwrap", keys_per_user=1),
}

MAC_BYTES = {True: 71, False: 304}
"""The longest message of a node, with buckets and without (a name of 255 bytes): FORMATS "Hierarchical derivation"."""
