"""Keys in AWS KMS: one key and one alias for each label (ADR 0021), looked at before they are trusted."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError
from icehouse.hsm._awskms_wire import CorruptedError, ExistsError, NotThereError, NotUsableError, whole
from icehouse.hsm._hsm import HsmKey, KeyKind, is_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from icehouse.hsm._awskms_uri import AwsKmsUri
    from icehouse.hsm._awskms_wire import Wire
    from icehouse.hsm._deadline import Deadline

TAG = "icehouse"
_DEAD = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
_PAUSE = 0.2
_SHORTEST_WINDOW = 7
_MAKE_ANEW = "let icehouse make its keys, and rewrap under a new one"
_METADATA = whole(KeyMetadata=dict)


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
    """The keys of one account in one region, for the length of one operation.

    `passed_over` are the ARNs of keys without an alias that are not icehouse's; a process looks at each of them once.
    """

    __slots__ = ("_deadline", "_passed_over", "_uri", "_wire")

    def __init__(self, wire: Wire, uri: AwsKmsUri, deadline: Deadline, passed_over: set[str]) -> None:
        self._wire = wire
        self._uri = uri
        self._deadline = deadline
        self._passed_over = passed_over

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys that are not about to be deleted, disabled ones too."""
        beginning = self._alias(prefix)
        names = [name for name in self._aliases() if name.startswith(beginning)]
        found = []
        for name, metadata in zip(names, self._described(names), strict=True):
            label, kind = name.removeprefix(self._alias("")), metadata and _kind(metadata)
            if metadata and kind and is_label(label) and metadata.get("KeyState") not in _DEAD:
                found.append(HsmKey(label, kind))
        return sorted(found, key=lambda key: key.label)

    def usable(self, key: HsmKey) -> str:
        """The ARN of the key that serves; refused unless everything about it is as icehouse made it."""
        metadata = self._of_kind(key)
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
            if self._describe(before).get("KeyState") in _DEAD:
                return
        except NotThereError:
            return
        msg = f"{self._alias(key.label)} names {now}, and named {before} before, which still lives; neither is used"
        raise HsmRefusedError(msg, hint="find out who changed the alias, and change it back: 'aws kms update-alias'")

    def create(self, key: HsmKey) -> str:
        """Make a key and claim its label by the alias, which AWS KMS gives to one key only; the key's ARN."""
        aliases = self._aliases()
        target = aliases.get(self._alias(key.label))
        if target is not None and self._lives(target):
            raise _taken(key.label)
        arns = self._made(key, aliases)
        try:
            self._claim(key, arns[0], "create_alias" if target is None else "update_alias")
        except HsmRefusedError as exc:
            self._discard(arns, key, exc)
            raise
        self._discard(arns[1:], key)
        self._wait_for(key, arns[0])
        return arns[0]

    def destroy(self, key: HsmKey) -> datetime | None:
        """Schedule the deletion; until when it can be cancelled. The alias stays, and goes with the key."""
        metadata = self._of_kind(key)
        self._check_ours(metadata, key.label)
        try:
            told = self._scheduled(metadata["Arn"], self._uri.deletion_days)
        except NotUsableError:
            # The answer of an earlier try got lost, or another was faster.
            told = self._describe(metadata["Arn"])
            if told.get("KeyState") not in _DEAD:
                raise
        until = told.get("DeletionDate")
        return until.astimezone(UTC) if isinstance(until, datetime) else None

    def _of_kind(self, key: HsmKey) -> dict[str, Any]:
        try:
            metadata = self._describe(self._alias(key.label))
        except NotThereError:
            raise _missing(key.label) from None
        if metadata.get("KeyState") in _DEAD:
            arn, until = metadata["Arn"], metadata.get("DeletionDate")
            msg = f"there is no key labelled {key.label!r} any more: it is to be deleted on {until}"
            hint = f"until then 'aws kms cancel-key-deletion --key-id {arn}' and 'aws kms enable-key' bring it back"
            raise HsmRefusedError(msg, hint=hint)
        kind = _kind(metadata)
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
        if not self._is_for(metadata, label):
            msg = (
                f"the key labelled {label!r} must not be trusted: icehouse did not make it for this label, "
                f"its description is {metadata.get('Description')!r}"
            )
            raise HsmRefusedError(msg, hint=f"find out who pointed {self._alias(label)} at {metadata['Arn']}")

    def _is_for(self, metadata: dict[str, Any], label: str) -> bool:
        return str(metadata.get("Description", "")).split(" ")[:2] == [TAG, f"{self._uri.prefix}/{label}"]

    def _made(self, key: HsmKey, aliases: dict[str, str]) -> list[str]:
        """A key without an alias, made now or left by a creation that was interrupted, and others left by this one."""
        left, lost = self._orphans(key, aliases), False
        if left:
            return left[:1]
        while True:
            try:
                made = self._new(key)
            except HsmUnavailableError:
                # Repeated blindly, a lost answer would leave a key that nobody can name.
                if not self._deadline.pause(_PAUSE):
                    raise
                lost = True
                left = self._orphans(key, self._aliases())
                if left:
                    return left
            else:
                return [made, *(arn for arn in self._orphans(key, self._aliases()) if arn != made)] if lost else [made]

    def _new(self, key: HsmKey) -> str:
        shape = SHAPES[key.kind]
        answer = self._wire.call(
            "create_key",
            self._deadline,
            check=_METADATA,
            repeat=False,
            Description=f"{TAG} {self._uri.prefix}/{key.label} {secrets.token_hex(8)}",
            KeySpec=shape.spec,
            KeyUsage=shape.usage,
            Origin="AWS_KMS",
            MultiRegion=False,
            Tags=[{"TagKey": TAG, "TagValue": self._uri.prefix}],
        )
        return str(self._placed(answer["KeyMetadata"])["Arn"])

    def _orphans(self, key: HsmKey, aliases: dict[str, str]) -> list[str]:
        """Enabled keys without an alias that were made for this label, the oldest first."""
        named = set(aliases.values())
        arns = [each["KeyArn"] for each in self._listed("list_keys", "Keys") if each["KeyId"] not in named]
        unknown = [arn for arn in arns if arn not in self._passed_over]
        found = []
        for arn, metadata in zip(unknown, self._described(unknown), strict=True):
            if metadata is None:
                continue
            if not str(metadata.get("Description", "")).startswith(f"{TAG} {self._uri.prefix}/"):
                self._passed_over.add(arn)
            elif (
                self._is_for(metadata, key.label) and _kind(metadata) is key.kind and metadata["KeyState"] == "Enabled"
            ):
                found.append((metadata["CreationDate"], arn))
        return [arn for _, arn in sorted(found)]

    def _claim(self, key: HsmKey, arn: str, method: str) -> None:
        """Give the alias to the key: the one step that makes it the label's."""
        lost = False
        while True:
            try:
                self._wire.call(method, self._deadline, repeat=False, AliasName=self._alias(key.label), TargetKeyId=arn)
            except ExistsError:
                if lost and self._describe(self._alias(key.label))["Arn"] == arn:
                    return
                raise _taken(key.label) from None
            except HsmUnavailableError:
                lost = True
                if not self._deadline.pause(_PAUSE):
                    raise
            else:
                return

    def _discard(self, arns: Iterable[str], key: HsmKey, why: HsmError | None = None) -> None:
        """Schedule the deletion of keys that did not get the alias, so that nobody pays for them."""
        for arn in arns:
            try:
                if self._describe(self._alias(key.label))["Arn"] == arn:
                    # Another found it without its alias, and took it.
                    continue
            except NotThereError:
                pass
            try:
                self._scheduled(arn, _SHORTEST_WINDOW)
            except HsmError as exc:
                if why is None:
                    continue
                left = f"{arn}, made for it, could not be scheduled for deletion ({exc}): do it by hand"
                why.hint = f"{why.hint}; {left}" if why.hint else left

    def _wait_for(self, key: HsmKey, arn: str) -> None:
        """Until the alias is known everywhere: AWS KMS agrees with itself after a while only."""
        while True:
            try:
                if self._describe(self._alias(key.label))["Arn"] == arn:
                    return
            except NotThereError:
                pass
            if not self._deadline.pause(_PAUSE):
                return

    def _scheduled(self, arn: str, days: int) -> dict[str, Any]:
        return self._wire.call("schedule_key_deletion", self._deadline, KeyId=arn, PendingWindowInDays=days)

    def _lives(self, target: str) -> bool:
        try:
            return self._describe(target).get("KeyState") not in _DEAD
        except NotThereError:
            return False

    def _describe(self, name: str) -> dict[str, Any]:
        answer = self._wire.call("describe_key", self._deadline, check=_METADATA, KeyId=name)
        metadata: dict[str, Any] = self._placed(answer["KeyMetadata"])
        if not name.startswith("alias/") and name not in {metadata["Arn"], metadata.get("KeyId")}:
            msg = f"asked for {name}, AWS KMS answered about {metadata['Arn']}"
            raise HsmRefusedError(msg)
        return metadata

    def _described(self, names: list[str]) -> list[dict[str, Any] | None]:
        """What is told of each, `None` where there is nothing; many at once."""

        def look(name: str) -> dict[str, Any] | None:
            try:
                return self._describe(name)
            except NotThereError:
                return None

        if len(names) <= 1:
            return [look(name) for name in names]
        with ThreadPoolExecutor(min(len(names), self._uri.concurrency)) as pool:
            return list(pool.map(look, names))

    def _placed(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """The metadata, if the key is in the account and region that this HSM is."""
        arn = str(metadata.get("Arn", ""))
        parts = arn.split(":")
        if parts[2:4] != ["kms", self._wire.region] or (self._uri.account or parts[4]) != parts[4]:
            msg = f"AWS KMS answered about {arn}, which is not in {self._wire.region} of {self._uri.account or 'AWS'}"
            raise HsmRefusedError(msg, hint="whose credentials are these? profile= and role= choose others")
        return metadata

    def _aliases(self) -> dict[str, str]:
        """The aliases of this account and region, with the ids of their keys."""
        listed = self._listed("list_aliases", "Aliases")
        return {each["AliasName"]: each["TargetKeyId"] for each in listed if "TargetKeyId" in each}

    def _listed(self, method: str, field: str) -> Iterator[dict[str, Any]]:
        where: dict[str, Any] = {}
        while True:
            page = self._wire.call(method, self._deadline, check=_page(field), **where)
            yield from page[field]
            if not page.get("Truncated"):
                return
            where = {"Marker": page["NextMarker"]}

    def _alias(self, label: str) -> str:
        return f"alias/{self._uri.prefix}/{label}"


def _kind(metadata: dict[str, Any]) -> KeyKind | None:
    return _KINDS.get(_Shape(str(metadata.get("KeySpec")), str(metadata.get("KeyUsage"))))


def _page(field: str) -> Callable[[dict[str, Any]], None]:
    def check(answer: dict[str, Any]) -> None:
        if not isinstance(answer.get(field), list):
            msg = f"an answer of AWS KMS lacks its {field}; it is not used"
            raise CorruptedError(msg)

    return check


def _missing(label: str) -> HsmRefusedError:
    return HsmRefusedError(f"AWS KMS has no key labelled {label!r}", hint="are region, account and prefix the vault's?")


def _taken(label: str) -> HsmRefusedError:
    return HsmRefusedError(f"AWS KMS already has a key labelled {label!r}")
