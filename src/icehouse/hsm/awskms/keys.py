"""Keys in AWS KMS: one key and one alias for each label (ADR 0021), looked at before they are trusted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError
from icehouse.hsm.awskms.errors import CorruptedError, CutError, DeletedError, DeniedError, NotThereError
from icehouse.hsm.awskms.wire import whole
from icehouse.hsm.key_service.deadline import Deadline
from icehouse.hsm.listing import GoneError
from icehouse.hsm.protocol import HsmKey, KeyKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icehouse.hsm.awskms.uri import AwsKmsUri
    from icehouse.hsm.awskms.wire import Wire

TAG = "icehouse"
DEAD = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
_PASSING = frozenset({"Creating", "Updating", "Unavailable"})
"""States that end by themselves, or when the key store that the key is in is connected again."""
_LONGEST_WINDOW = timedelta(days=30)
_PAUSE = 0.2
_STRANGE = "find out who made it and gave it this name; what is under the vault's own key opens under no other"
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
    """The keys of one account in one region, for the length of one operation.

    Without a deadline for all of it, each call has one of its own.
    """

    __slots__ = ("_deadline", "_uri", "_wire")

    def __init__(self, wire: Wire, uri: AwsKmsUri, deadline: Deadline | None) -> None:
        self._wire = wire
        self._uri = uri
        self._deadline = deadline

    def find(self, label: str) -> HsmKey | None:
        """The key of this label, one that is disabled, too. Raises `GoneError` where it is about to be deleted."""
        metadata = self.target(label)
        kind = metadata and kind_of(metadata)
        if metadata and metadata.get("KeyState") in DEAD:
            raise _deleted(metadata, label)
        return HsmKey(label, kind) if kind else None

    def target(self, label: str) -> dict[str, Any] | None:
        """What a label's alias names, whatever has become of it; `None` where there is no alias, or not yet."""
        try:
            return self.describe(self.alias(label))
        except NotThereError:
            return None

    def usable(self, key: HsmKey) -> str:
        """The ARN of the key that serves; refused unless everything about it is as icehouse made it."""

        def look() -> dict[str, Any]:
            metadata = self._pinned(key)
            self._check_ours(metadata, key.label)
            return metadata

        return self._enabled(look, key.label)

    def settled(self, key: HsmKey, arn: str) -> str:
        """The ARN of a key that this process made, once AWS KMS knows it and lets it serve."""
        return self._enabled(lambda: self.describe(arn, young=True), key.label)

    def _enabled(self, look: Callable[[], dict[str, Any]], label: str) -> str:
        """The ARN of a key that is enabled; one that may be soon is waited for."""
        deadline, told = self._time(), None
        while True:
            try:
                metadata = look()
            except CutError as exc:
                # That there was no time left says less than the state before.
                raise told or exc from None
            if metadata.get("KeyState") == "Enabled":
                return str(metadata["Arn"])
            told = _not_serving(metadata, label)
            if not isinstance(told, HsmUnavailableError) or not deadline.pause(_PAUSE):
                raise told

    def replaced(self, key: HsmKey, before: str, now: str) -> None:
        """Refuse an alias that names another key than before, unless the one before was destroyed."""
        try:
            if self.describe(before).get("KeyState") in DEAD:
                return
        except NotThereError:
            return
        msg = f"{self.alias(key.label)} names {now}, and named {before} before, which still lives; neither is used"
        raise HsmRefusedError(msg, hint="find out who changed the alias, and change it back: 'aws kms update-alias'")

    def destroy(self, key: HsmKey, known: str | None) -> datetime:
        """Schedule the deletion; until when it can be cancelled. The alias stays, and goes with the key.

        `known` is the ARN where this process made the key so lately that its alias may not be known yet.
        """
        arn = known
        if arn is None:
            metadata = self._pinned(key)
            self._check_ours(metadata, key.label)
            arn = str(metadata["Arn"])
        try:
            told = self.scheduled(arn, self._uri.deletion_days)
        except DeletedError:
            # The answer of an earlier try got lost, or another was faster.
            told = self.describe(arn)
        until = told.get("DeletionDate")
        # What is scheduled may not be told yet; until the longest time is over it may be there.
        return until.astimezone(UTC) if isinstance(until, datetime) else datetime.now(UTC) + _LONGEST_WINDOW

    def _pinned(self, key: HsmKey) -> dict[str, Any]:
        try:
            metadata = self.describe(self.alias(key.label))
        except NotThereError:
            raise _missing(key.label) from None
        if metadata.get("KeyState") in DEAD:
            raise _deleted(metadata, key.label)
        kind = kind_of(metadata)
        if kind is None:
            spec, usage = metadata.get("KeySpec"), metadata.get("KeyUsage")
            msg = f"the key labelled {key.label!r} must not be trusted: it is {spec} for {usage}"
            raise HsmRefusedError(msg, hint=_STRANGE)
        if kind is not key.kind:
            msg = f"the key labelled {key.label!r} is of kind {kind}; this operation needs kind {key.kind}"
            raise HsmRefusedError(msg)
        return metadata

    def _check_ours(self, metadata: dict[str, Any], label: str) -> None:
        for name, wanted in _MADE.items():
            if metadata.get(name) is None and not self._wire.vouched:
                continue  # stand-ins leave out what Amazon's own always tells
            if metadata.get(name) != wanted:
                msg = (
                    f"the key labelled {label!r} must not be trusted: its {name} is {metadata.get(name)}, not {wanted}"
                )
                raise HsmRefusedError(msg, hint=_STRANGE)
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
        """Whether a key was made for this label, by its description."""
        return str(metadata.get("Description", "")).rpartition(" ")[0] == self.description(label)

    def scheduled(self, arn: str, days: int) -> dict[str, Any]:
        """Schedule the deletion of a key that is known to be there."""
        return self._wire.call("schedule_key_deletion", self._time(), young=True, KeyId=arn, PendingWindowInDays=days)

    def describe(self, name: str, *, young: bool = False) -> dict[str, Any]:
        """What AWS tells of a key, asked by its ARN, id or alias."""
        answer = self._wire.call("describe_key", self._time(), check=METADATA, young=young, KeyId=name)
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

    def aliases(self) -> Iterator[dict[str, str]]:
        """The aliases of this account and region with the ids of their keys, page by page."""
        for page in self.pages("list_aliases", "Aliases", 100):
            yield {each["AliasName"]: each["TargetKeyId"] for each in page if "TargetKeyId" in each}

    def pages(self, method: str, field: str, most: int) -> Iterator[list[dict[str, Any]]]:
        """The entries of a list, page by page, each with its own deadline."""
        where: dict[str, Any] = {}
        while True:
            page = self._wire.call(method, self._time(), check=_page(field), Limit=most, **where)
            yield page[field]
            if not page.get("Truncated"):
                return
            where = {"Marker": page["NextMarker"]}

    def _time(self) -> Deadline:
        return self._deadline or Deadline(self._uri.deadline)

    def alias(self, label: str) -> str:
        """The alias of a label."""
        return f"alias/{self._uri.prefix}/{label}"


def _not_serving(metadata: dict[str, Any], label: str) -> HsmError:
    """Why a key that is not enabled does not serve, and whether that passes."""
    state, arn = metadata.get("KeyState"), metadata["Arn"]
    if state in DEAD:
        return _deleted(metadata, label)
    msg = f"the key labelled {label!r} is {state}, not Enabled"
    if state in _PASSING:
        return HsmUnavailableError(msg, hint="this passes; if its key store is disconnected, connect it")
    disabled = f"'aws kms enable-key --key-id {arn}' enables it"
    return HsmRefusedError(msg, hint=disabled if state == "Disabled" else _STRANGE)


def _deleted(metadata: dict[str, Any], label: str) -> GoneError:
    arn, until = metadata["Arn"], metadata.get("DeletionDate")
    msg = f"there is no key labelled {label!r} any more: it is to be deleted on {until}"
    hint = f"until then 'aws kms cancel-key-deletion --key-id {arn}' and 'aws kms enable-key' bring it back"
    return GoneError(msg, hint=hint)


def kind_of(metadata: dict[str, Any]) -> KeyKind | None:
    """The kind of a key, or None for one that icehouse never makes."""
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
