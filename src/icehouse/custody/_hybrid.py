"""Hybrid custody: random shares, sealed under data keys that root keys in an HSM wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse._core import DataKey, context_digest
from icehouse.custody._custody import OpenKey
from icehouse.errors import IcehouseError, SealError
from icehouse.model import DEVICE_NUMBER, SERVER_NUMBER, Purpose, Sealed, WrappedKey

if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from icehouse._core import MacKey, PendingColumns, Share
    from icehouse.custody._custody import WrappedKeys
    from icehouse.custody._opened import OpenedKeys
    from icehouse.hsm import Hsm, HsmKey
    from icehouse.model import Key, StandingOffer

    _Role: TypeAlias = Literal["current", "claim", "pending"]


class HybridCustody:
    """Two root keys, which may live in two HSMs: `kek` for the server's records, `claim` for the devices'."""

    name = "hybrid"

    def __init__(
        self,
        vault_id: bytes,
        roots: dict[Purpose, tuple[Hsm, HsmKey]],
        wrapped_keys: WrappedKeys,
        opened: OpenedKeys,
    ) -> None:
        self._vault_id = vault_id
        self._roots = roots
        self._wrapped_keys = wrapped_keys
        self._opened = opened

    @property
    def hsm(self) -> Hsm:
        """The HSM of the server's root key."""
        return self._roots[Purpose.SERVER][0]

    @property
    def hsms(self) -> tuple[Hsm, ...]:
        """Every HSM of a root key, each once."""
        return tuple({id(hsm): hsm for hsm, _ in self._roots.values()}.values())

    def root_key(self, purpose: Purpose) -> str:
        """The label of the root key that wraps data keys of this purpose."""
        return self._roots[purpose][1].label

    def _context(self, number: int, purpose: Purpose, root_key: str) -> bytes:
        return context_digest("data-key", [self._vault_id, number, str(purpose), root_key])

    def new_data_key(self, number: int, purpose: Purpose) -> OpenKey:
        """A fresh data key, wrapped. One HSM operation."""
        hsm, root = self._roots[purpose]
        key = DataKey.random()
        wrapped = hsm.wrap(root, key, self._context(number, purpose, root.label))
        own = WrappedKey(number, purpose, root.label, wrapped)
        self._opened.keep(own, key)
        return OpenKey(own, key, fresh=True)

    def open_wrapped(self, wrapped: WrappedKey) -> OpenKey:
        """Open a data key. One HSM operation, unless it was opened lately."""
        found = self._opened.take(wrapped.number)
        if found is not None and found[0] == wrapped:
            return OpenKey(*found)
        hsm, root = self._roots[wrapped.purpose]
        if wrapped.root_key != root.label:
            msg = f"data key {wrapped.number} is wrapped by {wrapped.root_key!r}, not by this vault's {root.label!r}"
            raise SealError(msg)
        context = self._context(wrapped.number, wrapped.purpose, wrapped.root_key)
        try:
            key = hsm.unwrap(root, wrapped.wrapped, context)
        except SealError as exc:
            msg = f"data key {wrapped.number} does not open: it was changed, moved, or is another vault's"
            raise SealError(msg) from exc
        self._opened.keep(wrapped, key)
        return OpenKey(wrapped, key)

    def open_number(self, number: int, purpose: Purpose) -> OpenKey:
        """Open the data key of this number, which must be of this purpose."""
        found = self._opened.take(number)
        wrapped = found[0] if found else self._wrapped_keys.wrapped_key(number)
        if wrapped.purpose is not purpose:
            msg = f"data key {number} is for {wrapped.purpose} records, and a {purpose} record names it"
            raise SealError(msg)
        return OpenKey(*found) if found else self.open_wrapped(wrapped)

    def is_open(self, number: int) -> bool:
        """Whether a data key can be used without the HSM."""
        return self._opened.take(number) is not None

    def open_share(self, key: Key) -> Share:
        """The server's share of the current epoch."""
        return self._open(key, "current", key.sealed, Purpose.SERVER)

    def open_claim(self, key: Key) -> Share:
        """The device's share of a key that no device has claimed."""
        if key.claim is None:
            msg = f"the claim record of {key.user!r} is missing"
            raise SealError(msg)
        return self._open(key, "claim", key.claim, Purpose.CLAIM)

    def open_pending(self, key: Key, offer: StandingOffer) -> Share:
        """The server's share of an offered epoch."""
        return self._open(key, "pending", offer.sealed, Purpose.SERVER, offer.columns)

    def _open(
        self, key: Key, role: _Role, sealed: Sealed, purpose: Purpose, columns: PendingColumns | None = None
    ) -> Share:
        under = self.open_number(sealed.data_key, purpose)
        participant = DEVICE_NUMBER if purpose is Purpose.CLAIM else SERVER_NUMBER
        try:
            return key.row.open(role, under.key, under.number, participant, sealed.record, columns)
        except (IcehouseError, OverflowError, TypeError) as exc:
            msg = f"the {role} record of {key.user!r} does not open: {exc}"
            raise SealError(msg) from exc

    def enrolment_code(self, key: Key) -> MacKey:
        """The enrolment code of the salt in force."""
        if key.claim is None or key.salt is None:
            msg = f"the claim record or the code's salt of {key.user!r} is missing"
            raise SealError(msg)
        under = self.open_number(key.claim.data_key, Purpose.CLAIM)
        return under.key.enrolment_code(self._vault_id, key.key_id, key.salt)

    def seal_share(self, key: Key, share: Share, under: OpenKey) -> Sealed:
        """Seal the server's share into this row."""
        return Sealed(under.number, key.row.seal("current", under.key, under.number, SERVER_NUMBER, share))

    def seal_claim(self, key: Key, share: Share, under: OpenKey) -> Sealed:
        """Seal the device's share into this row under this claim data key."""
        return Sealed(under.number, key.row.seal("claim", under.key, under.number, DEVICE_NUMBER, share))

    def seal_pending(self, key: Key, offer: StandingOffer, share: Share, under: OpenKey) -> Sealed:
        """Seal the server's share of an offered epoch."""
        record = key.row.seal("pending", under.key, under.number, SERVER_NUMBER, share, offer.columns)
        return Sealed(under.number, record)
