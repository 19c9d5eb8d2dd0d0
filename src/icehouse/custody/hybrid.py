"""Hybrid custody: random shares, sealed under data keys that root keys in an HSM wrap."""

from __future__ import annotations

import logging
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from icehouse._core import DataKey, context_digest, deal, rotate
from icehouse.custody.custody import Drawn, OpenKey
from icehouse.custody.hierarchical import HierarchicalCustody
from icehouse.custody.refusal import Refusal, Verb
from icehouse.errors import IcehouseError, SealError
from icehouse.hsm import KeyKind
from icehouse.model import (
    DEVICE_NUMBER,
    NO_DATA_KEY,
    SERVER_NUMBER,
    SOFTWARE,
    STAND_INS,
    Purpose,
    Role,
    Sealed,
    StaleRootsError,
    WrappedKey,
    is_software,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal, Self, TypeAlias

    from icehouse._core import MacKey, PendingColumns, Share
    from icehouse.custody.custody import Means, WrappedKeys
    from icehouse.custody.opened import Opened
    from icehouse.custody.roots import RootKeys
    from icehouse.hsm import Hsm
    from icehouse.model import Key, PathOfEpoch, StandingOffer, VaultRecord

    OpenedKeys: TypeAlias = Opened[int, tuple[WrappedKey, DataKey]]
    _Role: TypeAlias = Literal["current", "claim", "pending"]

_ROLES = {Purpose.SERVER: Role.KEK, Purpose.CLAIM: Role.CLAIM}
_STAND_INS = {purpose: STAND_INS[role] for purpose, role in _ROLES.items()}


# AES-GCM with random nonces is good for 2^32 wrappings under one key. Data keys are numbered, and no number is given
# twice: it is at least how often any root key wrapped one.
_MANY_WRAPPED = 1 << 28
_REMIND_EVERY = 1 << 16
_logger = logging.getLogger("icehouse")


class HybridCustody:
    """Two root keys, which may live in two HSMs: `kek` for the server's records, `claim` for the devices'.

    A vault that was hierarchical keeps its old custody as `derived`, for the rows that were not converted yet.
    """

    name: ClassVar[str] = "hybrid"
    roles: ClassVar[tuple[Role, ...]] = (Role.KEK, Role.CLAIM)
    refuses: ClassVar[Mapping[Verb, Refusal]] = MappingProxyType(
        {
            Verb.SHARE_NODES: Refusal("only a hierarchical vault has buckets, and this one's custody is {name}"),
            Verb.REBUILD: Refusal(
                "only a hierarchical vault is rebuilt from its master key", "restore a backup of the database"
            ),
            Verb.CONVERT: Refusal("only a hierarchical vault is converted to hybrid, and this one's custody is {name}"),
        }
    )
    users_own: ClassVar[bool] = False
    pages_together: ClassVar[int] = 16
    data_keys_per_page: ClassVar[int] = 4
    """Each stands for up to 1,024 users, and takes three HSM operations."""
    converts_to: ClassVar[str] = ""

    def __init__(
        self,
        record: VaultRecord,
        roots: RootKeys,
        wrapped_keys: WrappedKeys,
        opened: OpenedKeys,
        reload: Callable[[], VaultRecord],
        derived: HierarchicalCustody | None = None,
    ) -> None:
        self.roots = roots
        self._record = record
        self._wrapped_keys = wrapped_keys
        self._opened = opened
        self._reload = reload
        self._derived = derived

    @classmethod
    def over(cls, means: Means) -> Self:
        """The custody of a vault. One that was hierarchical still has its master until that is retired."""
        derived = HierarchicalCustody.over(means) if means.record.newest(Role.MASTER) else None
        return cls(means.record, means.roots, means.wrapped_keys, means.keys, means.reload, derived)

    @property
    def hsm(self) -> Hsm:
        """The HSM of the server's root key."""
        return self.roots.main

    @property
    def is_converted(self) -> bool:
        """Whether the vault was hierarchical."""
        return self._derived is not None

    def in_software(self, key: Key | None = None) -> bool:
        """Whether a new key, or what is new of this one, comes under the software module.

        So it is while the HSM is away, and until a vault that was made meanwhile is promoted. A key that was made
        under the HSM never does.
        """
        if self.roots.software is None or (key is not None and key.origin != SOFTWARE):
            return False
        if self.roots.away:
            return True
        self._vouch()
        return self._record.current(Role.CLAIM) is None

    def _vouch(self) -> None:
        """Have the HSM look at the vault's settings, before anything is made or opened under it.

        Raises `HsmUnavailableError` where it was away when the vault was opened, and cannot look yet.
        """
        if not self.roots.vouched:
            self._record = self._reload()
            self.roots.check_vouched()
            _logger.warning("the HSM is back: it vouches for the vault, and new keys are made under it again")

    def root_key(self, purpose: Purpose, key: Key | None, *, software: bool = False) -> str | None:
        """The label of the vault's current root key of this purpose."""
        del key
        if not software:
            self._vouch()
        role = (_STAND_INS if software else _ROLES)[purpose]
        root = self._record.current(role)
        if root is None:
            msg = f"the vault has no current {role} key"
            raise SealError(msg)
        return root.label

    # Data keys

    def _context(self, number: int, purpose: Purpose, root_key: str) -> bytes:
        return context_digest("data-key", [self._record.vault_id, number, str(purpose), root_key])

    def wrap(self, number: int, purpose: Purpose, root_key: str, key: DataKey) -> WrappedKey:
        """A data key wrapped by a root key. One HSM operation."""
        context = self._context(number, purpose, root_key)
        wrapped = self.roots.use(root_key, KeyKind.AES, lambda hsm, root: hsm.wrap(root, key, context))
        return WrappedKey(number, purpose, root_key, wrapped)

    def unwrap(self, wrapped: WrappedKey) -> DataKey:
        """A data key opened by the HSM, whatever was opened lately. One HSM operation."""
        if not is_software(wrapped.root_key):
            self._vouch()
        if not self._is_root(wrapped):
            # Another process may have moved the vault to other root keys since its settings were read.
            self._record = self._reload()
        if not self._is_root(wrapped):
            msg = f"data key {wrapped.number} is wrapped by {wrapped.root_key!r}, which is no such key of this vault"
            raise SealError(msg)
        context = self._context(wrapped.number, wrapped.purpose, wrapped.root_key)
        try:
            return self.roots.use(
                wrapped.root_key, KeyKind.AES, lambda hsm, root: hsm.unwrap(root, wrapped.wrapped, context)
            )
        except SealError as exc:
            msg = f"data key {wrapped.number} does not open: it was changed, moved, or is another vault's"
            raise SealError(msg) from exc

    def _is_root(self, wrapped: WrappedKey) -> bool:
        """Whether data keys of this purpose may be wrapped by this root key."""
        roles = _ROLES[wrapped.purpose], _STAND_INS[wrapped.purpose]
        return any(root.label == wrapped.root_key and root.role in roles for root in self._record.roots)

    def new_data_key(self, number: int, purpose: Purpose, root_key: str) -> OpenKey:
        """A fresh data key, wrapped. One HSM operation."""
        key = DataKey.random()
        if number >= _MANY_WRAPPED and number % _REMIND_EVERY == 0:
            _logger.warning("data key %d: root keys must be replaced long before they wrap 2^32 data keys", number)
        own = self.wrap(number, purpose, root_key, key)
        self._opened.keep(number, (own, key))
        return OpenKey(own, key, fresh=True)

    def open_wrapped(self, wrapped: WrappedKey) -> OpenKey:
        """Open a data key. One HSM operation, unless it was opened lately."""
        found = self._opened.take(wrapped.number)
        if found is not None and found[0] == wrapped:
            return OpenKey(*found)
        key = self.unwrap(wrapped)
        self._opened.keep(wrapped.number, (wrapped, key))
        return OpenKey(wrapped, key)

    def open_number(self, number: int, purpose: Purpose) -> OpenKey:
        """Open the data key of this number, which must be of this purpose."""
        found = self._opened.take(number)
        wrapped = found[0] if found else self._wrapped_keys.wrapped_key(number)
        if wrapped.purpose is not purpose:
            msg = f"data key {number} is for {wrapped.purpose} records, and a {purpose} record names it"
            raise SealError(msg)
        return OpenKey(*found) if found else self.open_wrapped(wrapped)

    def _opened_key(self, number: int, purpose: Purpose) -> DataKey:
        return _needed(self.open_number(number, purpose))

    def is_ready(self, key: Key, number: int) -> bool:
        """Whether the data key was opened lately."""
        if number == NO_DATA_KEY and self._derived is not None:
            return self._derived.is_ready(key, number)
        return self._opened.take(number) is not None

    def forget(self) -> None:
        """Forget what was opened: the HSM opens it again."""
        self._opened.forget()
        if self._derived is not None:
            self._derived.forget()

    def renew(self, key: Key, numbers: Sequence[int]) -> None:
        """Ask the HSM again for data keys in use, before they close."""
        for number in numbers:
            if number == NO_DATA_KEY and self._derived is not None:
                self._derived.renew(key, numbers)
            elif (found := self._opened.ageing(number)) is not None:
                with suppress(IcehouseError):  # it closes when its time is over, and whoever asks then is told why
                    self._opened.keep(number, (found[0], self.unwrap(found[0])))

    # Shares

    def nodes(self, users: Sequence[str]) -> None:
        """None: shares are drawn at random."""
        del users

    def deal(self, user: str, path: PathOfEpoch) -> tuple[bytes, list[Share]]:
        """A random key: what follows from the path is its shape alone."""
        del user
        suite, _, threshold, participants, _, _ = path
        return deal(suite, threshold, participants)

    def is_outdated(self, key: Key) -> bool:
        """Whether the row was not converted yet: no row is written as a derived one any more."""
        return key.sealed.data_key == NO_DATA_KEY

    def _before(self, key: Key) -> HierarchicalCustody:
        """The custody of a row that was not converted yet."""
        if self._derived is None:
            msg = f"the row of {key.user!r} names no data key, and this vault never was hierarchical"
            raise SealError(msg)
        return self._derived

    def open_share(self, key: Key) -> Share:
        """The server's share of the current epoch."""
        if key.sealed.data_key == NO_DATA_KEY:
            return self._before(key).open_share(key)
        return self._open(key, "current", key.sealed, Purpose.SERVER)

    def open_claim(self, key: Key) -> Share:
        """The device's share of a key that no device has claimed."""
        if key.claim is None and key.sealed.data_key == NO_DATA_KEY:
            return self._before(key).open_claim(key)
        if key.claim is None:
            msg = f"the claim record of {key.user!r} is missing"
            raise SealError(msg)
        return self._open(key, "claim", key.claim, Purpose.CLAIM)

    def open_pending(self, key: Key, offer: StandingOffer) -> Share:
        """The server's share of an offered epoch."""
        if offer.sealed.data_key == NO_DATA_KEY:
            return self._before(key).open_pending(key, offer)
        return self._open(key, "pending", offer.sealed, Purpose.SERVER, offer.columns)

    def _open(
        self, key: Key, role: _Role, sealed: Sealed, purpose: Purpose, columns: PendingColumns | None = None
    ) -> Share:
        under = self.open_number(sealed.data_key, purpose)
        if key.origin != SOFTWARE and is_software(under.wrapped.root_key):
            msg = f"the {role} record of {key.user!r}, which says that it was made under the HSM, is under software"
            raise SealError(msg)
        data_key = _needed(under)
        participant = DEVICE_NUMBER if purpose is Purpose.CLAIM else SERVER_NUMBER
        try:
            return key.row.open(role, data_key, sealed.data_key, participant, sealed.record, columns)
        except (IcehouseError, OverflowError, TypeError) as exc:
            msg = f"the {role} record of {key.user!r} does not open: {exc}"
            raise SealError(msg) from exc

    def enrolment_code(self, key: Key) -> MacKey:
        """The enrolment code of the salt in force."""
        if key.claim is None and key.sealed.data_key == NO_DATA_KEY:
            return self._before(key).enrolment_code(key)
        if key.claim is None or key.salt is None:
            msg = f"the claim record or the code's salt of {key.user!r} is missing"
            raise SealError(msg)
        data_key = self._opened_key(key.claim.data_key, Purpose.CLAIM)
        return data_key.enrolment_code(self._record.vault_id, key.key_id, key.salt)

    def draw(self, key: Key, epoch: int, offer_id: bytes, *, whole: bool) -> Drawn:
        """Fresh differences for every participant, added to the shares that the vault holds."""
        del epoch, offer_id
        commitments, differences = rotate(key.group)
        half = differences[DEVICE_NUMBER - 1]
        return Drawn(
            commitments,
            self.open_share(key).plus(differences[SERVER_NUMBER - 1]),
            self.open_claim(key).plus(half) if whole else half,
        )

    def seal_share(self, key: Key, share: Share, under: OpenKey) -> Sealed:
        """Seal the server's share into this row."""
        return Sealed(under.number, key.row.seal("current", _needed(under), under.number, SERVER_NUMBER, share))

    def seal_claim(self, key: Key, share: Share, under: OpenKey) -> Sealed | None:
        """Seal the device's share into this row under this claim data key."""
        return Sealed(under.number, key.row.seal("claim", _needed(under), under.number, DEVICE_NUMBER, share))

    def seal_pending(self, key: Key, offer: StandingOffer, share: Share, under: OpenKey) -> Sealed:
        """Seal the server's share of an offered epoch."""
        record = key.row.seal("pending", _needed(under), under.number, SERVER_NUMBER, share, offer.columns)
        return Sealed(under.number, record)


def _needed(under: OpenKey) -> DataKey:
    if under.key is None:
        # A row without a data key came from a process that still takes this vault for a hierarchical one.
        raise StaleRootsError
    return under.key
