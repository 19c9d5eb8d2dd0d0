"""What every custody strategy offers the ceremonies: shares in, sealed records out, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from icehouse.model import NO_DATA_KEY, Purpose, WrappedKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from icehouse._core import DataKey, MacKey, Node, Share
    from icehouse.custody.opened import Opened
    from icehouse.custody.refusal import Refusal, Verb
    from icehouse.custody.roots import RootKeys
    from icehouse.hsm import Hsm
    from icehouse.model import Key, PathOfEpoch, Role, Sealed, StandingOffer, VaultRecord


class WrappedKeys(Protocol):
    """Where a custody finds a wrapped data key; the store fits."""

    def wrapped_key(self, number: int) -> WrappedKey:
        """The data key of this number, or `SealError`."""


@dataclass(frozen=True, slots=True)
class OpenKey:
    """A data key ready for use. `fresh` while the store does not hold it yet; no key where none is needed."""

    wrapped: WrappedKey
    key: DataKey | None
    fresh: bool = False

    @property
    def number(self) -> int:
        """The number that records under this key name."""
        return self.wrapped.number


NOTHING_TO_OPEN = OpenKey(WrappedKey(NO_DATA_KEY, Purpose.SERVER, "", b""), None)
"""Stands for a data key where nothing is sealed."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The next epoch of a key: its commitments, the server's share, and what the device is sent."""

    commitments: bytes
    server: Share
    half: Share


@dataclass(frozen=True, slots=True)
class Means:
    """What a custody is made over: a vault's settings that the HSM saw, its HSMs, and what outlives new settings.

    `keys` and `nodes` hold what was opened lately; `reload` reads the settings anew and has the HSM look at them.
    """

    record: VaultRecord
    roots: RootKeys
    wrapped_keys: WrappedKeys
    keys: Opened[int, tuple[WrappedKey, DataKey]]
    nodes: Opened[str | int, Node]
    reload: Callable[[], VaultRecord]


class Custody(Protocol):
    """A strategy that ties shares to root keys. It never touches the store.

    What a class says of itself holds for every vault of its kind, and is known before a vault is open.
    """

    name: ClassVar[str]
    """As the vault's settings have it: a name of the table, or `module:Class`."""
    roles: ClassVar[tuple[Role, ...]]
    """The root keys that a vault needs from the start."""
    refuses: ClassVar[Mapping[Verb, Refusal]]
    """What makes no sense under this custody, and why."""
    users_own: ClassVar[bool]
    """Whether each user has a root key of their own: these are few, dear, and nobody else's records are under them."""
    pages_together: ClassVar[int]
    """How many pages of new users share a transaction at most: it writes each part of an index once for all of them."""
    data_keys_per_page: ClassVar[int]
    """How many data keys a worker rewraps before it reports."""
    converts_to: ClassVar[str]
    """The custody that a vault of this one can be converted to; empty for none."""
    roots: RootKeys

    @classmethod
    def over(cls, means: Means) -> Self:
        """The custody of a vault."""

    @property
    def hsm(self) -> Hsm:
        """The HSM of the server's root keys."""

    @property
    def is_converted(self) -> bool:
        """Whether the vault had another custody before, whose root keys it still knows."""

    def in_software(self, key: Key | None = None) -> bool:
        """Whether a new key, or what is new of this one, comes under the software module: the HSM is away."""

    def root_key(self, purpose: Purpose, key: Key | None, *, software: bool = False) -> str | None:
        """The label of the root key that wraps data keys of this purpose, for this user's key; None: nothing does."""

    def nodes(self, users: Sequence[str]) -> Sequence[Node] | None:
        """The node that each user's shares are derived from; None where shares are drawn at random."""

    def deal(self, user: str, path: PathOfEpoch) -> tuple[bytes, list[Share]]:
        """The commitments and the shares of a new key."""

    def is_outdated(self, key: Key) -> bool:
        """Whether a row is as the custody wrote it that this vault had before, and is to be moved before it is used."""

    def wrap(self, number: int, purpose: Purpose, root_key: str, key: DataKey) -> WrappedKey:
        """A data key wrapped by a root key. One HSM operation."""

    def unwrap(self, wrapped: WrappedKey) -> DataKey:
        """A data key opened by the HSM, whatever was opened lately. One HSM operation."""

    def new_data_key(self, number: int, purpose: Purpose, root_key: str) -> OpenKey:
        """A fresh data key, wrapped. One HSM operation."""

    def open_wrapped(self, wrapped: WrappedKey) -> OpenKey:
        """Open a data key. One HSM operation, unless it was opened lately."""

    def open_number(self, number: int, purpose: Purpose) -> OpenKey:
        """Open the data key of this number, which must be of this purpose."""

    def is_ready(self, key: Key, number: int) -> bool:
        """Whether a record of this key under this data key can be opened without the HSM."""

    def forget(self) -> None:
        """Forget what was opened: the HSM opens it again."""

    def renew(self, key: Key, numbers: Sequence[int]) -> None:
        """Ask the HSM again for these data keys of a key in use, before they close: nobody's flood can then close them.

        Where it does not answer, or refuses, they serve until their time is over. Raises nothing.
        """

    def open_share(self, key: Key) -> Share:
        """The server's share of the current epoch."""

    def open_claim(self, key: Key) -> Share:
        """The device's share of a key that no device has claimed."""

    def open_pending(self, key: Key, offer: StandingOffer) -> Share:
        """The server's share of an offered epoch."""

    def enrolment_code(self, key: Key) -> MacKey:
        """The enrolment code of the salt in force."""

    def draw(self, key: Key, epoch: int, offer_id: bytes, *, whole: bool) -> Drawn:
        """The shares of an epoch to offer: the device's `whole` share, or what it adds to its own."""

    def seal_share(self, key: Key, share: Share, under: OpenKey) -> Sealed:
        """Seal the server's share into this row."""

    def seal_claim(self, key: Key, share: Share, under: OpenKey) -> Sealed | None:
        """Seal the device's share into this row under this claim data key; None where nothing is kept."""

    def seal_pending(self, key: Key, offer: StandingOffer, share: Share, under: OpenKey) -> Sealed:
        """Seal the server's share of an offered epoch."""
