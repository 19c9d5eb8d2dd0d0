"""Keys in AWS KMS: one key and one alias for each label (ADR 0021), looked at before they are trusted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmRefusedError
from icehouse.hsm._awskms_wire import CorruptedError, DeniedError, NotThereError, NotUsableError, whole
from icehouse.hsm._hsm import HsmKey, KeyKind, is_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icehouse.hsm._awskms_uri import AwsKmsUri
    from icehouse.hsm._awskms_wire import Wire
    from icehouse.hsm._deadline import Deadline

TAG = "icehouse"
_DEAD = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
_MAKE_ANEW = "let icehouse make its keys, and rewrap under a new one"
METADATA = whole(KeyMetadata=dict)


@dataclass(frozen=True, slots=True)
class _Shape:
    spec: str
    usage: str


SHAPES = {
    KeyKind.AES: _Shape("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    KeyKind.HMAC: _Shape("HMAC_512", "GENERATE_VERIFY_MAC"),
    KeyKind.ECDSA: _Shape("ECC_NIST_P256", "SIGN_VERIFY"),
}
_KINDS = {shape: kind for kind, shape in SHAPES.items()}
_MADE = {"Origin": "AWS_KMS", "KeyManager": "CUSTOMER", "MultiRegion": False}
"""What holds of every key that icehouse made: its material never was outside AWS's HSMs, nor in another region."""


class Keys:
    """The keys of one account in one region, for the length of one operation."""

    __slots__ = ("_deadline", "_uri", "_wire")

    def __init__(self, wire: Wire, uri: AwsKmsUri, deadline: Deadline) -> None:
        self._wire = wire
        self._uri = uri
        self._deadline = deadline

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys that are not about to be deleted, disabled ones too."""
        beginning = self.alias(prefix)
        names = [name for name in self.aliases() if name.startswith(beginning)]
        found = []
        for name, metadata in zip(names, self.described(names), strict=True):
            label, kind = name.removeprefix(self.alias("")), metadata and kind_of(metadata)
            if metadata and kind and is_label(label) and metadata.get("KeyState") not in _DEAD:
                found.append(HsmKey(label, kind))
        return sorted(found, key=lambda key: key.label)

    def usable(self, key: HsmKey) -> str:
        """The ARN of the key that serves; refused unless everything about it is as icehouse made it."""
        metadata = self._pinned(key)
        self._check_ours(metadata, key.label)
        state, arn = metadata.get("KeyState"), str(metadata["Arn"])
        if state != "Enabled":
            msg = f"the key labelled {key.label!r} is {state}, not Enabled"
            disabled = f"'aws kms enable-key --key-id {arn}' enables it"
            raise HsmRefusedError(msg, hint=disabled if state == "Disabled" else _MAKE_ANEW)
        return arn

    def replaced(self, key: HsmKey, before: str, now: str) -> None:
        """Refuse an alias that names another key than before, unless the one before was destroyed."""
        try:
            if self.describe(before).get("KeyState") in _DEAD:
                return
        except NotThereError:
            return
        msg = f"{self.alias(key.label)} names {now}, and named {before} before, which still lives; neither is used"
        raise HsmRefusedError(msg, hint="find out who changed the alias, and change it back: 'aws kms update-alias'")

    def destroy(self, key: HsmKey) -> datetime | None:
        """Schedule the deletion; until when it can be cancelled. The alias stays, and goes with the key."""
        metadata = self._pinned(key)
        self._check_ours(metadata, key.label)
        try:
            told = self.scheduled(metadata["Arn"], self._uri.deletion_days)
        except NotUsableError:
            # The answer of an earlier try got lost, or another was faster.
            told = self.describe(metadata["Arn"])
            if told.get("KeyState") not in _DEAD:
                raise
        until = told.get("DeletionDate")
        return until.astimezone(UTC) if isinstance(until, datetime) else None

    def _pinned(self, key: HsmKey) -> dict[str, Any]:
        try:
            metadata = self.describe(self.alias(key.label))
        except NotThereError:
            raise _missing(key.label) from None
        if metadata.get("KeyState") in _DEAD:
            arn, until = metadata["Arn"], metadata.get("DeletionDate")
            msg = f"there is no key labelled {key.label!r} any more: it is to be deleted on {until}"
            hint = f"until then 'aws kms cancel-key-deletion --key-id {arn}' and 'aws kms enable-key' bring it back"
            raise HsmRefusedError(msg, hint=hint)
        kind = kind_of(metadata)
        if kind is None:
            spec, usage = metadata.get("KeySpec"), metadata.get("KeyUsage")
            msg = f"the key labelled {key.label!r} must not be trusted: it is {spec} for {usage}"
            raise HsmRefusedError(msg, hint=_MAKE_ANEW)
        if kind is not key.kind:
            msg = f"the key labelled {key.label!r} is of kind {kind}; this operation needs kind {key.kind}"
            raise HsmRefusedError(msg)
        return metadata

    def _check_ours(self, metadata: dict[str, Any], label: str) -> None:
        for name, wanted in _MADE.items():
            if metadata.get(name) != wanted:
                msg = (
                    f"the key labelled {label!r} must not be trusted: its {name} is {metadata.get(name)}, not {wanted}"
                )
                raise HsmRefusedError(msg, hint=_MAKE_ANEW)
        if not self.is_for(metadata, label):
            msg = (
                f"the key labelled {label!r} must not be trusted: icehouse did not make it for this label, "
                f"its description is {metadata.get('Description')!r}"
            )
            raise HsmRefusedError(msg, hint=f"find out who pointed {self.alias(label)} at {metadata['Arn']}")

    def description(self, label: str) -> str:
        """What the description of a key that was made for this label begins with; no label at all: for any."""
        return f"{TAG} {self._uri.prefix}/{label}"

    def is_for(self, metadata: dict[str, Any], label: str) -> bool:
        return str(metadata.get("Description", "")).rpartition(" ")[0] == self.description(label)

    def scheduled(self, arn: str, days: int) -> dict[str, Any]:
        return self._wire.call("schedule_key_deletion", self._deadline, KeyId=arn, PendingWindowInDays=days)

    def lives(self, target: str) -> bool:
        try:
            return self.describe(target).get("KeyState") not in _DEAD
        except NotThereError:
            return False

    def describe(self, name: str) -> dict[str, Any]:
        answer = self._wire.call("describe_key", self._deadline, check=METADATA, KeyId=name)
        metadata: dict[str, Any] = self.placed(answer["KeyMetadata"])
        if not name.startswith("alias/") and name not in {metadata["Arn"], metadata.get("KeyId")}:
            msg = f"asked for {name}, AWS KMS answered about {metadata['Arn']}"
            raise HsmRefusedError(msg)
        return metadata

    def described(self, names: list[str], *, hidden: bool = False) -> list[dict[str, Any] | None]:
        """What is told of each, `None` where there is nothing; many at once.

        Where keys may be `hidden` from these credentials, nothing is told of those.
        """

        def look(name: str) -> dict[str, Any] | None:
            try:
                return self.describe(name)
            except NotThereError:
                return None
            except DeniedError:
                if not hidden:
                    raise
                return {}

        if len(names) <= 1:
            return [look(name) for name in names]
        with ThreadPoolExecutor(min(len(names), self._uri.concurrency)) as pool:
            return list(pool.map(look, names))

    def placed(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """The metadata, if the key is in the account and region that this HSM is."""
        arn = str(metadata.get("Arn", ""))
        parts = arn.split(":")
        if parts[2:4] != ["kms", self._wire.region] or (self._uri.account or parts[4]) != parts[4]:
            msg = f"AWS KMS answered about {arn}, which is not in {self._wire.region} of {self._uri.account or 'AWS'}"
            raise HsmRefusedError(msg, hint="whose credentials are these? profile= and role= choose others")
        return metadata

    def aliases(self) -> dict[str, str]:
        """The aliases of this account and region, with the ids of their keys."""
        listed = self.listed("list_aliases", "Aliases", 100)
        return {each["AliasName"]: each["TargetKeyId"] for each in listed if "TargetKeyId" in each}

    def listed(self, method: str, field: str, most: int) -> Iterator[dict[str, Any]]:
        where: dict[str, Any] = {}
        while True:
            page = self._wire.call(method, self._deadline, check=_page(field), Limit=most, **where)
            yield from page[field]
            if not page.get("Truncated"):
                return
            where = {"Marker": page["NextMarker"]}

    def alias(self, label: str) -> str:
        return f"alias/{self._uri.prefix}/{label}"


def kind_of(metadata: dict[str, Any]) -> KeyKind | None:
    return _KINDS.get(_Shape(str(metadata.get("KeySpec")), str(metadata.get("KeyUsage"))))


def _page(field: str) -> Callable[[dict[str, Any]], None]:
    def check(answer: dict[str, Any]) -> None:
        more = answer.get("Truncated") and not answer.get("NextMarker")
        if more or not isinstance(answer.get(field), list):
            msg = f"an answer of AWS KMS lacks its {'NextMarker' if more else field}; it is not used"
            raise CorruptedError(msg)

    return check


def _missing(label: str) -> HsmRefusedError:
    return HsmRefusedError(f"AWS KMS has no key labelled {label!r}", hint="are region, account and prefix the vault's?")
