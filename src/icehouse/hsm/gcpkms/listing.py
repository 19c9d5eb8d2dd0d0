"""Lists of a key ring's keys: page by page, each with its own deadline, and going on where they broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import HsmUnavailableError
from icehouse.hsm.gcpkms.making import MARK
from icehouse.hsm.gcpkms.ring import is_ours, kind_of, label_of
from icehouse.hsm.gcpkms.wire import tools
from icehouse.hsm.listing import Leftover, PartlyListedError
from icehouse.hsm.protocol import HsmKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from icehouse.hsm.gcpkms.ring import Ring

_MOST_LOOKS = 100
"""How many destroyed keys are looked at for versions that nothing names: each costs one of a project's few reads."""


def keys_of(ring: Ring, seen: dict[str, bool], prefix: str) -> list[HsmKey]:
    """The keys that are not on their way to destruction, disabled ones too. Raises `PartlyListedError`.

    `seen` is what a list that broke off had found: whether there is a key in a crypto key.
    """
    found: list[HsmKey] = []
    try:
        for page in ring.crypto_keys():
            for crypto_key in page:
                kind, label = kind_of(crypto_key), label_of(crypto_key)
                if kind and is_ours(crypto_key, prefix) and _lives(ring, seen, crypto_key):
                    found.append(HsmKey(label, kind))
    except HsmUnavailableError as exc:
        raise PartlyListedError(sorted(found, key=lambda key: key.label), exc) from exc
    seen.clear()
    return sorted(found, key=lambda key: key.label)


def _lives(ring: Ring, seen: dict[str, bool], crypto_key: Any) -> bool:  # noqa: ANN401
    known = seen.get(crypto_key.name)
    if known is None:
        known = seen[crypto_key.name] = ring.lives(crypto_key)
    return known


def leftovers(ring: Ring) -> Iterator[Leftover]:
    """Versions of destroyed keys that an interrupted creation left: not primary, so nothing was wrapped under them."""
    looked = 0
    for page in ring.crypto_keys():
        for crypto_key in page:
            if MARK not in crypto_key.labels or not is_ours(crypto_key, "") or not crypto_key.primary.name:
                continue
            if ring.lives(crypto_key):
                continue
            looked += 1
            if looked > _MOST_LOOKS:
                msg = f"{_MOST_LOOKS} destroyed keys were looked at, and there are more"
                raise HsmUnavailableError(msg)
            for version in ring.live(label_of(crypto_key)):
                mend = f"'{tools('destroy', version.name)}' ends it; making a key of this label again takes it up"
                yield Leftover(version.name, label_of(crypto_key), version.create_time, mend)
