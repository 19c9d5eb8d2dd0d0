"""Making keys in AWS KMS, where a creation cannot be repeated and a key has no name of its own (ADR 0021)."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError
from icehouse.hsm._awskms_keys import METADATA, SHAPES, TAG, Keys, kind_of
from icehouse.hsm._awskms_wire import ExistsError, NotThereError

if TYPE_CHECKING:
    from icehouse.hsm._awskms_uri import AwsKmsUri
    from icehouse.hsm._awskms_wire import Wire
    from icehouse.hsm._deadline import Deadline
    from icehouse.hsm._hsm import HsmKey

_PAUSE = 0.2
_SHORTEST_WINDOW = 7


class Making:
    """The making of one key.

    `passed_over` are the ARNs of keys without an alias that are not icehouse's; a process looks at each of them once.
    """

    __slots__ = ("_deadline", "_keys", "_lost", "_mark", "_passed_over", "_prefix", "_wire")

    def __init__(self, wire: Wire, uri: AwsKmsUri, deadline: Deadline, passed_over: set[str]) -> None:
        self._wire = wire
        self._prefix = uri.prefix
        self._deadline = deadline
        self._keys = Keys(wire, uri, deadline)
        self._passed_over = passed_over
        self._mark = secrets.token_hex(8)
        self._lost = False

    def create(self, key: HsmKey) -> str:
        """Make a key and claim its label by the alias, which AWS KMS gives to one key only; the key's ARN."""
        aliases = self._keys.aliases()
        target = aliases.get(self._keys.alias(key.label))
        if target is not None and self._keys.lives(target):
            raise _taken(key.label)
        # Whoever may create a key may write any description, and a key policy of his own: none of these is ever taken.
        left = self._orphans(key, aliases)
        arn = self._made(key)
        try:
            self._claim(key, arn, "create_alias" if target is None else "update_alias")
        except HsmRefusedError as exc:
            self._discard(arn, key, exc)
            raise
        self._sweep(key, arn, left if target is None else [])
        self._wait_for(key, arn)
        return arn

    def _made(self, key: HsmKey) -> str:
        """A new key; where an answer got lost, the one that was made all the same."""
        while True:
            made = self._orphans(key, self._keys.aliases(), self._mark) if self._lost else []
            if made:
                return made[0]
            try:
                return self._new(key)
            except HsmUnavailableError:
                # Repeated blindly, a lost answer would leave a key that nobody can name.
                self._lost = True
                if not self._deadline.pause(_PAUSE):
                    raise

    def _new(self, key: HsmKey) -> str:
        shape = SHAPES[key.kind]
        answer = self._wire.call(
            "create_key",
            self._deadline,
            check=METADATA,
            repeat=False,
            Description=f"{self._keys.description(key.label)} {self._mark}",
            KeySpec=shape.spec,
            KeyUsage=shape.usage,
            Origin="AWS_KMS",
            MultiRegion=False,
            Tags=[{"TagKey": TAG, "TagValue": self._prefix}],
        )
        return str(self._keys.placed(answer["KeyMetadata"])["Arn"])

    def _orphans(self, key: HsmKey, aliases: dict[str, str], mark: str = "") -> list[str]:
        """Enabled keys without an alias that were made for this label, by the creation of this mark; oldest first."""
        named = set(aliases.values())
        arns = [each["KeyArn"] for each in self._keys.listed("list_keys", "Keys", 1000) if each["KeyId"] not in named]
        unknown = [arn for arn in arns if arn not in self._passed_over]
        found = []
        for arn, metadata in zip(unknown, self._keys.described(unknown, hidden=True), strict=True):
            if metadata is None:
                continue
            description = str(metadata.get("Description", ""))
            if not description.startswith(self._keys.description("")):
                self._passed_over.add(arn)
            elif self._keys.is_for(metadata, key.label) and description.endswith(mark) and _serves(metadata, key):
                found.append((str(metadata.get("CreationDate")), arn))
        return [arn for _, arn in sorted(found)]

    def _claim(self, key: HsmKey, arn: str, method: str) -> None:
        """Give the alias to the key: the one step that makes it the label's."""
        lost = False
        while True:
            try:
                self._wire.call(
                    method, self._deadline, repeat=False, AliasName=self._keys.alias(key.label), TargetKeyId=arn
                )
            except ExistsError:
                if lost and self._keys.describe(self._keys.alias(key.label))["Arn"] == arn:
                    return
                raise _taken(key.label) from None
            except HsmUnavailableError:
                lost = True
                if not self._deadline.pause(_PAUSE):
                    raise
            else:
                return

    def _discard(self, arn: str, key: HsmKey, why: HsmError) -> None:
        """Schedule the deletion of a key that did not get the alias, so that nobody pays for it."""
        try:
            if self._keys.describe(self._keys.alias(key.label))["Arn"] == arn:
                # Another found it without its alias, and took it.
                return
        except HsmRefusedError:
            pass
        try:
            self._keys.scheduled(arn, _SHORTEST_WINDOW)
        except HsmError as exc:
            left = f"{arn}, made for it, could not be scheduled for deletion ({exc}): do it by hand"
            why.hint = f"{why.hint}; {left}" if why.hint else left

    def _sweep(self, key: HsmKey, kept: str, left: list[str]) -> None:
        """Schedule the deletion of what interrupted creations left, and of what else this one made unheard.

        The alias is ours by now: whoever else is about to claim it with one of these gets nothing.
        """
        # The key that was wanted is made; what cannot be swept costs money, and is found by its description.
        with suppress(HsmError):
            unheard = self._orphans(key, self._keys.aliases(), self._mark) if self._lost else []
            # Lists lag behind: the key that has the alias may still seem to have none.
            for arn in {*left, *unheard} - {kept}:
                self._keys.scheduled(arn, _SHORTEST_WINDOW)

    def _wait_for(self, key: HsmKey, arn: str) -> None:
        """Until the alias is known everywhere: AWS KMS agrees with itself after a while only."""
        while True:
            try:
                named = self._keys.describe(self._keys.alias(key.label))["Arn"]
            except NotThereError:
                named = arn
            except HsmError:
                # The key is made; what is wrong now is told when it is used.
                return
            else:
                if named == arn:
                    return
            if not self._deadline.pause(_PAUSE):
                break
        if named != arn:
            msg = f"the alias of {key.label!r} still names another key than the one that was made for it"
            raise HsmUnavailableError(msg, hint="was it made twice at once? 'icehouse doctor' says which key it names")


def _serves(metadata: dict[str, Any], key: HsmKey) -> bool:
    return kind_of(metadata) is key.kind and metadata.get("KeyState") == "Enabled"


def _taken(label: str) -> HsmRefusedError:
    return HsmRefusedError(f"AWS KMS already has a key labelled {label!r}")
