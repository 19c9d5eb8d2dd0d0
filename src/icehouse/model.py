"""The words of the domain as frozen values: keys, offers, data keys, and what callers see of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

from icehouse import arguments
from icehouse._core import Group, Row
from icehouse.errors import ConflictError, IcehouseError, RequestError, SealError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SERVER = "server"
"""The participant that the vault holds."""
DEVICE_NUMBER = 1
SERVER_NUMBER = 2
THRESHOLD = 2
RECORDS_PER_DATA_KEY = 1024
NO_DATA_KEY = 0
"""Stands where a record needs no data key: a hierarchical row's tag, a tombstone."""
DEALER = "dealer"
SOFTWARE = "software"
"""The origin, for ever, of a key that was made in software because the HSM was away."""
NO_OFFER_ID = bytes(16)
"""The offer id of epoch 0, which no device is ever dealt."""
PathOfEpoch: TypeAlias = tuple[str, int, int, int, int, bytes]
"""Suite, generation, threshold, number of participants, epoch and offer id: what a user's shares are derived by."""
SUITES = ("ed25519", "secp256k1-tr", "secp256k1", "p256", "ristretto255", "ed448")
DEFAULT_SUITE = SUITES[0]
MAX_NAME_BYTES = 255
MAX_EPOCH = 1 << 53
"""Every number on the wire is below this, so that any JSON reader keeps it whole."""
MAX_MESSAGE_BYTES = 1 << 20
"""The longest message that is signed."""


class State(StrEnum):
    """Where a key stands."""

    DEALT = "dealt"
    """Made, but no device has proved that it holds its share."""
    LIVE = "live"
    """A device and the vault sign together."""
    SUSPENDED = "suspended"
    """Live, and refused by the operator until resumed."""
    LOST = "lost"
    """Rebuilt without its epoch: refused until the application authorises a claim with a new code."""
    DESTROYED = "destroyed"
    """A tombstone: no record is left. Callers see `removed` while a backup of the key may still open."""


REMOVED = "removed"
"""What callers see of a tombstone until nothing could open a backup of the key."""


class Purpose(StrEnum):
    """What a data key seals."""

    SERVER = "server"
    CLAIM = "claim"


class Role(StrEnum):
    """What a key inside the HSM is for."""

    KEK = "kek"
    """Wraps the data keys of the server's records."""
    CLAIM = "claim"
    """Wraps the data keys of the devices' records."""
    MASTER = "master"
    """Derives every share of a hierarchical vault."""
    USER = "user"
    """Wraps one user's data keys, in a direct vault."""
    SOFTWARE_KEK = "software-kek"
    """Stands in for `kek`, in a software module, while the HSM is away."""
    SOFTWARE_CLAIM = "software-claim"
    """Stands in for `claim` in the same way."""
    SOFTWARE_USER = "software-user"
    """Stands in for a user's own key in the same way."""


STAND_INS = {Role.KEK: Role.SOFTWARE_KEK, Role.CLAIM: Role.SOFTWARE_CLAIM, Role.USER: Role.SOFTWARE_USER}
"""The roles that a software module takes over while the HSM is away."""


OWN_ROLES = (Role.USER, Role.SOFTWARE_USER)
"""The roles of a direct vault's users' own keys."""


class RootState(StrEnum):
    """Where a root key stands."""

    MAKING = "making"
    """About to be made in the HSM; perhaps made already."""
    CURRENT = "current"
    """New data keys are wrapped under it."""
    DRAINING = "draining"
    """Superseded; data keys may still be wrapped under it."""
    RETIRING = "retiring"
    """Nothing is under it any more; about to be destroyed in the HSM."""
    RETIRED = "retired"
    """Destroyed in the HSM."""


@dataclass(frozen=True, slots=True)
class RootKey:
    """A key inside the HSM, as the vault's database knows it. Times are seconds since 1970."""

    label: str
    role: Role
    version: int
    state: RootState
    superseded: int | None = None
    recoverable_until: int | None = None


@dataclass(frozen=True, slots=True)
class VaultRecord:
    """The vault's settings as the database holds them; `seal` proves that the HSM saw the others."""

    vault_id: bytes
    custody: str
    buckets: int
    roots: tuple[RootKey, ...]
    seal: bytes

    def __post_init__(self) -> None:
        types = (type(self.vault_id), type(self.custody), type(self.buckets), type(self.seal))
        if types != (bytes, str, int, bytes) or not all(type(root.label) is str for root in self.roots):
            msg = "the vault's settings in the database were changed: they hold a value that icehouse never writes"
            raise SealError(msg)
        for root in self.roots:
            if root.label != root_label(self.vault_id, root.role, root.version):
                msg = f"the root key {root.label!r} in the database is not this vault's {root.role} {root.version}"
                raise SealError(msg)

    def current(self, role: Role) -> RootKey | None:
        """The root key of this role that new data keys are wrapped under."""
        return next((root for root in self.roots if (root.role, root.state) == (role, RootState.CURRENT)), None)

    def newest(self, role: Role) -> RootKey | None:
        """The root key of this role with the highest version, whatever its state."""
        return max((root for root in self.roots if root.role is role), key=lambda root: root.version, default=None)


class StaleRootsError(ConflictError):
    """Another process moved the vault to other root keys; load its settings again."""


def root_label(vault_id: bytes, role: Role, version: int) -> str:
    """The label of a root key in the HSM."""
    return f"icehouse-{vault_id.hex()}-{role}-{version}"


USERS_OWN = "icehouse-u-"
"""How the labels of users' own keys in the HSM begin."""
_SOFTWARE_MARK = "-software-"
"""What only the labels of root keys have that a software module holds in an HSM's place."""


def user_label(key_id: bytes, version: int, *, software: bool = False) -> str:
    """The label of a user's own key in the HSM, in a direct vault; or in the software module that stands in for it."""
    return f"{USERS_OWN}{key_id.hex()}{_SOFTWARE_MARK if software else '-'}{version}"


def is_software(label: str) -> bool:
    """Whether a root key of this label was made in software because the HSM was away."""
    return _SOFTWARE_MARK in label


def role_of_own(label: str) -> Role:
    """The role of a user's own key of this label."""
    return Role.SOFTWARE_USER if is_software(label) else Role.USER


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as the database holds it: wrapped by a root key."""

    number: int
    purpose: Purpose
    root_key: str
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed record and the number of the data key it is sealed under."""

    data_key: int
    record: bytes


@dataclass(frozen=True, slots=True)
class StandingOffer:
    """A pending epoch: the server's share of it, sealed, and what the device was answered."""

    epoch: int
    commitments: bytes
    offer_id: bytes
    device_key: bytes
    expires: int
    payload: bytes
    sealed: Sealed

    @property
    def columns(self) -> tuple[int, bytes, bytes, bytes, int, bytes]:
        """What its record is bound to, in the core's order."""
        return (self.epoch, self.commitments, self.offer_id, self.device_key, self.expires, self.payload)


@dataclass(frozen=True)
class Key:
    """One user's key as the vault stores it. `rev` counts its writes; every write names the one it saw."""

    id: int
    rev: int
    vault: bytes
    user: str
    suite: str
    generation: int
    epoch: int
    next_epoch: int
    state: State
    origin: str
    attested: bool
    due: int
    """The day since 1970 from which a rotation is due; 0 for none. It decides nothing about a share."""
    commitments: bytes
    salt: bytes | None
    offer_id: bytes | None
    sealed: Sealed
    claim: Sealed | None = None
    offer: StandingOffer | None = None
    changed: int = 0
    again: bool = False
    """A rotation became due while an offer stood, so that offer's commit does not settle it."""

    @cached_property
    def group(self) -> Group:
        """The public facts at the current epoch."""
        participants = [self.user, SERVER]
        try:
            return Group(
                self.vault,
                self.user,
                self.suite,
                self.generation,
                THRESHOLD,
                participants,
                self.epoch,
                self.commitments,
            )
        except Exception as exc:
            msg = f"the row of {self.user!r} holds no possible key: {exc}"
            raise SealError(msg) from exc

    @cached_property
    def row(self) -> Row:
        """What every sealed record of this key is bound to."""
        standing = self.offer.offer_id if self.offer else None
        try:
            return Row(
                self.group,
                self.next_epoch,
                self.state,
                self.origin,
                self.attested,
                self.salt,
                self.offer_id,
                standing,
            )
        except (IcehouseError, OverflowError, TypeError) as exc:
            msg = f"the row of {self.user!r} holds a value that icehouse never writes: {exc}"
            raise SealError(msg) from exc

    @property
    def key_id(self) -> bytes:
        """The first 16 bytes of the hash of vault, user, suite and generation."""
        return self.group.key_id

    def offered_group(self, offer: StandingOffer) -> Group:
        """The public facts at an offered epoch."""
        return self.group.at(offer.epoch, offer.commitments)

    @property
    def due_day(self) -> date | None:
        """From which day a rotation is due; None for none. Raises `SealError` for a day that no calendar has."""
        if not self.due:
            return None
        try:
            return _EPOCH.date() + timedelta(days=self.due)
        except OverflowError:
            msg = f"the row of {self.user!r} holds a value that icehouse never writes: due on day {self.due}"
            raise SealError(msg) from None

    @property
    def changed_at(self) -> datetime:
        """When the row was written last. Raises `SealError` for a time that no calendar has."""
        try:
            return _EPOCH + timedelta(seconds=self.changed)
        except OverflowError:
            msg = f"the row of {self.user!r} holds a value that icehouse never writes: changed at {self.changed}"
            raise SealError(msg) from None

    def slots(self) -> Counter[int]:
        """How many records of this key each data key seals."""
        records = [self.sealed, self.claim, self.offer.sealed if self.offer else None]
        return Counter(record.data_key for record in records if record is not None and record.data_key != NO_DATA_KEY)


@dataclass(frozen=True, slots=True)
class FrostShards:
    """What a caller sees of a user's key: public facts, no secret."""

    user_id: str
    key_id: bytes
    suite: str
    generation: int
    threshold: int
    participants: tuple[str, ...]
    public_key: bytes
    epoch: int
    state: str
    origin: str
    custody: str
    provider: str
    hsm_attested: bool
    due: date | None = None
    """From which day a rotation is due; None for none. Nothing vouches for it: it decides nothing about a share."""
    changed: datetime | None = None
    """When the key's row was written last, to the second. Nothing vouches for it, either."""


@dataclass(frozen=True, slots=True)
class BulkResult:
    """How many keys a bulk creation made, and how many users had one like it already."""

    created: int
    existing: int


def check_user(user: str) -> str:
    """Return the user's name, or raise `RequestError`."""
    size = len(arguments.text(user, "a user's name").encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_NAME_BYTES:
        msg = f"a user's name must be 1 to {MAX_NAME_BYTES} bytes of UTF-8, not {size}"
        raise RequestError(msg)
    if user == SERVER:
        msg = f"a user cannot be named {SERVER!r}: that is the vault's own name"
        raise RequestError(msg)
    if "\0" in user:
        msg = "a user's name must not contain the character U+0000: not every database takes it"
        raise RequestError(msg)
    try:
        user.encode()
    except UnicodeEncodeError:
        msg = "a user's name must be valid Unicode"
        raise RequestError(msg) from None
    return user


def check_suite(suite: str) -> str:
    """Return the suite's short name, or raise `RequestError`."""
    if arguments.text(suite, "suite") not in SUITES:
        msg = f"suite must be one of {', '.join(SUITES)}, not {suite!r}"
        raise RequestError(msg)
    return suite
