"""Making keys in AWS KMS, where a creation cannot be repeated and a key has no name of its own (ADR 0021, ADR 0044)."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError
from icehouse.hsm.awskms.errors import (
    AGAIN,
    DeletedError,
    DeniedError,
    ExistsError,
    NotThereError,
    NotUsableError,
    NotYetError,
)
from icehouse.hsm.awskms.keys import DEAD, METADATA, SHAPES, TAG, Keys, kind_of
from icehouse.hsm.awskms.listing import unnamed

if TYPE_CHECKING:
    from icehouse.hsm.awskms.listing import Memory
    from icehouse.hsm.awskms.uri import AwsKmsUri
    from icehouse.hsm.awskms.wire import Wire
    from icehouse.hsm.key_service.deadline import Deadline
    from icehouse.hsm.protocol import HsmKey

_PAUSE = 0.2
_SHORTEST_WINDOW = 7
_SEARCH = 0.3
"""Which part of the time that is left a search among all keys may take."""


class Making:
    """The making of one key."""

    __slots__ = ("_deadline", "_key", "_keys", "_lost", "_mark", "_memory", "_unsure", "_uri", "_wire")

    def __init__(self, wire: Wire, uri: AwsKmsUri, deadline: Deadline, memory: Memory, key: HsmKey) -> None:
        self._wire = wire
        self._uri = uri
        self._deadline = deadline
        self._keys = Keys(wire, uri, deadline)
        self._memory = memory
        self._key = key
        self._mark = secrets.token_hex(8)
        self._lost = False
        """Whether the answer to a CreateKey got lost."""
        self._unsure = False
        """Whether the alias may be this key's, although nobody said so."""

    def create(self) -> str:
        """Make a key and claim its label by the alias, which AWS KMS gives to one key only; the key's ARN."""
        target = self._named()
        # Where the try before did not get to its end, its key is gone on with: no other process knows of it.
        begun = self._memory.unclaimed.pop(self._key, None)
        self._unsure = begun is not None
        if begun and target and target["Arn"] == begun and target.get("KeyState") not in DEAD:
            return begun
        if target is not None:
            self._check_free(target)
        # Whoever may create a key may write any description, and a key policy of his own: no other is ever taken.
        arn = begun or self._made()
        try:
            self._claim(arn, anew=target is not None)
        except HsmUnavailableError:
            self._memory.unclaimed[self._key] = arn
            raise
        except HsmRefusedError as exc:
            self._discard(arn, exc)
            raise
        self._sweep(arn)
        self._wait_for(arn)
        return arn

    def _named(self) -> dict[str, Any] | None:
        """What the label's alias names; whoever may make keys and not look at them is told by CreateAlias."""
        try:
            return self._keys.target(self._key.label)
        except DeniedError:
            return None

    def _check_free(self, target: dict[str, Any]) -> None:
        """Refuse a label whose key lives, or whose key was of another kind: AWS KMS moves no alias between kinds."""
        label, kind = self._key.label, kind_of(target)
        if target.get("KeyState") not in DEAD:
            raise _taken(label)
        if kind is not self._key.kind:
            msg = (
                f"the alias of {label!r} names a key of kind {kind} until that is deleted on "
                f"{target.get('DeletionDate')}, and AWS KMS gives an alias to no key of another kind ({self._key.kind})"
            )
            raise HsmRefusedError(
                msg, hint=f"take another label, or 'aws kms delete-alias --alias-name {self._keys.alias(label)}'"
            )

    def _made(self) -> str:
        """A new key; where an answer got lost, the one that was made all the same."""
        while True:
            if self._lost and (made := self._unheard()):
                return made[0]
            try:
                return self._new()
            except HsmUnavailableError:
                # Repeated blindly, a lost answer would leave a key that nobody can name.
                self._lost = True
                if not self._deadline.pause(_PAUSE):
                    raise

    def _new(self) -> str:
        shape = SHAPES[self._key.kind]
        answer = self._wire.call(
            "create_key",
            self._deadline,
            check=METADATA,
            repeat=False,
            Description=f"{self._keys.description(self._key.label)} {self._mark}",
            KeySpec=shape.spec,
            KeyUsage=shape.usage,
            Origin="AWS_KMS",
            MultiRegion=False,
            Tags=[{"TagKey": TAG, "TagValue": self._uri.prefix}],
        )
        return str(self._keys.placed(answer["KeyMetadata"])["Arn"])

    def _unheard(self) -> list[str]:
        """The keys that bear this creation's mark, as far as they are listed by now. It takes a part of the time."""
        found: list[str] = []
        with suppress(HsmError):
            keys = Keys(self._wire, self._uri, self._deadline.part(_SEARCH))
            for arn, metadata in unnamed(keys, self._memory):
                found += [arn] if str(metadata["Description"]).endswith(f" {self._mark}") else []
        return found

    def _claim(self, arn: str, *, anew: bool) -> None:
        """Give the alias to the key: the one step that makes it the label's."""
        late: NotYetError | None = None
        while True:
            method = "update_alias" if anew else "create_alias"
            try:
                self._wire.call(
                    method, self._deadline, repeat=False, AliasName=self._keys.alias(self._key.label), TargetKeyId=arn
                )
            except ExistsError:
                if self._unsure and self._owns(arn):
                    return
                raise _taken(self._key.label) from None
            except DeletedError:
                raise
            except (NotThereError, NotUsableError) as exc:
                # Of a key that was made just now: it is not known here yet. Or the old alias went with its key.
                late = NotYetError(f"a new key is not known everywhere yet: {exc}", hint=AGAIN)
                if not self._deadline.pause(_PAUSE):
                    raise late from exc
                anew = anew and self._keys.target(self._key.label) is not None
            except HsmUnavailableError as exc:
                self._unsure = True
                if not self._deadline.pause(_PAUSE):
                    raise late or exc from exc.__cause__
            else:
                return

    def _owns(self, arn: str) -> bool:
        """Whether the alias that somebody created, perhaps this creation unheard, names this key."""
        while True:
            target = self._keys.target(self._key.label)
            if target is not None:
                return bool(target["Arn"] == arn)
            # It was created, AWS KMS says, so that it is not there means that it is not known here yet.
            if not self._deadline.pause(_PAUSE):
                msg = f"the alias of {self._key.label!r} was created, and is not known everywhere yet"
                raise NotYetError(msg, hint=AGAIN)

    def _discard(self, arn: str, why: HsmError) -> None:
        """Schedule the deletion of a key that did not get the alias, so that nobody pays for it.

        Not of one that may have got it: another process may have used it since.
        """
        left = f"{arn} was made for it and is left, since it may own the alias: 'icehouse doctor --hsm' lists it if not"
        if not self._unsure:
            try:
                self._keys.scheduled(arn, _SHORTEST_WINDOW)
            except DeletedError:
                return
            except HsmError as exc:
                left = f"{arn}, made for it, could not be scheduled for deletion ({exc}): do it by hand"
            else:
                return
        why.hint = f"{why.hint}; {left}" if why.hint else left

    def _sweep(self, kept: str) -> None:
        """Schedule the deletion of what else this creation made unheard: no alias was ever asked for these.

        What other creations left is never destroyed here: it may be a key that somebody took the alias from.
        """
        if not self._lost:
            return
        # The key that was wanted is made; what cannot be swept costs money, and `leftovers` lists it.
        with suppress(HsmError):
            for arn in self._unheard():
                if arn != kept:
                    Keys(self._wire, self._uri, self._deadline.part(_SEARCH)).scheduled(arn, _SHORTEST_WINDOW)

    def _wait_for(self, arn: str) -> None:
        """Until the alias is known everywhere: AWS KMS agrees with itself after a while only.

        Whatever it says meanwhile, the key is made, and this process uses it by its ARN.
        """
        while True:
            try:
                target = self._keys.target(self._key.label)
            except HsmError:
                # What is wrong now is told when the key is used.
                return
            if target is not None and target["Arn"] == arn:
                return
            if not self._deadline.pause(_PAUSE):
                break
        if target is not None and target.get("KeyState") not in DEAD:
            msg = f"the alias of {self._key.label!r} still names another key than the one that was made for it"
            raise HsmUnavailableError(msg, hint="was it made twice at once? 'icehouse doctor' says which key it names")


def _taken(label: str) -> HsmRefusedError:
    return HsmRefusedError(f"AWS KMS already has a key labelled {label!r}")
