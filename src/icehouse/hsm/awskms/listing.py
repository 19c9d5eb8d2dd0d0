"""Lists of an account's keys: page by page, each with its own deadline, and going on where they broke off."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmUnavailableError
from icehouse.hsm.awskms.keys import DEAD, kind_of
from icehouse.hsm.listing import Leftover, PartlyListedError
from icehouse.hsm.protocol import HsmKey, is_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icehouse.hsm.awskms.keys import Keys
    from icehouse.hsm.protocol import KeyKind

_AT_ONCE = 100
"""How many keys are looked at before what was found is given out."""
_LOOK_AGAIN = 300.0
"""Seconds after which a key that these credentials may not look at is tried again."""


class Memory:
    """What one process saw of its account."""

    __slots__ = ("_foreign", "listed", "unclaimed")

    def __init__(self) -> None:
        self.listed: dict[str, tuple[str, KeyKind | None]] = {}
        """What a list that broke off had found: the key behind an alias, and its kind where it is one of ours."""
        self.unclaimed: dict[HsmKey, str] = {}
        """The ARNs of keys that were made and may or may not have got their alias: the next try goes on with them."""
        self._foreign: dict[str, float] = {}

    def is_foreign(self, arn: str) -> bool:
        """Whether a key was seen to be none that icehouse made."""
        return time.monotonic() < self._foreign.get(arn, 0.0)

    def pass_over(self, arn: str, metadata: dict[str, Any]) -> None:
        """Remember a key of somebody else's: for good, or for a while where it could not be looked at."""
        self._foreign[arn] = float("inf") if metadata else time.monotonic() + _LOOK_AGAIN


def keys_of(keys: Keys, memory: Memory, prefix: str) -> list[HsmKey]:
    """The keys that are not about to be deleted, disabled ones too. Raises `PartlyListedError`."""
    beginning, found = keys.alias(prefix), []
    try:
        for page in keys.aliases():
            ours = {name: target for name, target in page.items() if name.startswith(beginning)}
            _look_at(keys, memory, ours)
            labels = ((name.removeprefix(keys.alias("")), memory.listed[name][1]) for name in ours)
            found += [HsmKey(label, kind) for label, kind in labels if kind and is_label(label)]
    except HsmUnavailableError as exc:
        raise PartlyListedError(sorted(found, key=lambda key: key.label), exc) from exc
    memory.listed = {}
    return sorted(found, key=lambda key: key.label)


def _look_at(keys: Keys, memory: Memory, aliases: dict[str, str]) -> None:
    unknown = [name for name, target in aliases.items() if memory.listed.get(name, ("",))[0] != target]
    for name, metadata in zip(unknown, keys.described(unknown), strict=True):
        alive = metadata and metadata.get("KeyState") not in DEAD
        memory.listed[name] = aliases[name], kind_of(metadata) if metadata and alive else None


def unnamed(keys: Keys, memory: Memory) -> Iterator[tuple[str, dict[str, Any]]]:
    """The keys without an alias that icehouse made, by ARN, with what is told of them."""
    named = {target for page in keys.aliases() for target in page.values()}
    for page in keys.pages("list_keys", "Keys", 1000):
        arns = [str(each["KeyArn"]) for each in page if each["KeyId"] not in named]
        arns = [arn for arn in arns if not memory.is_foreign(arn)]
        for first in range(0, len(arns), _AT_ONCE):
            some = arns[first : first + _AT_ONCE]
            for arn, metadata in zip(some, keys.described(some, hidden=True), strict=True):
                if metadata is None:
                    continue  # not known yet, or not any more
                if str(metadata.get("Description", "")).startswith(keys.description("")):
                    yield arn, metadata
                else:
                    memory.pass_over(arn, metadata)


def leftovers(keys: Keys, memory: Memory) -> Iterator[Leftover]:
    """The keys that icehouse made and no alias names. Never destroyed by itself: one may have lost its alias."""
    for arn, metadata in unnamed(keys, memory):
        label = str(metadata["Description"]).removeprefix(keys.description("")).rpartition(" ")[0]
        target = keys.target(label)
        # Lists lag behind: a key whose alias was made just now seems to have none.
        if metadata.get("KeyState") in DEAD or (target and target["Arn"] == arn):
            continue
        mend = (
            f"if it was never used, 'aws kms schedule-key-deletion --key-id {arn}' ends it; if its alias was deleted, "
            f"'aws kms create-alias --alias-name {keys.alias(label)} --target-key-id {arn}' gives it back"
        )
        yield Leftover(arn, label, metadata.get("CreationDate"), mend)
