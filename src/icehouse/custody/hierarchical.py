"""Hierarchical custody: every share follows from one HSM key, the user's path and the epoch. Nothing secret is stored.

Least of all does it promise: whoever can use `master` can derive every user's whole key, for as long as `master` lives.
"""

from __future__ import annotations

from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NoReturn

from icehouse._core import bucket, derive, derive_share, node_message
from icehouse.custody.custody import Drawn, OpenKey
from icehouse.custody.refusal import Refusal, Verb
from icehouse.errors import IcehouseError, SealError
from icehouse.hsm import KeyKind
from icehouse.model import (
    DEVICE_NUMBER,
    NO_DATA_KEY,
    NO_OFFER_ID,
    SERVER_NUMBER,
    THRESHOLD,
    Role,
    Sealed,
    StaleRootsError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal, Self, TypeAlias

    from icehouse._core import DataKey, MacKey, Node, PendingColumns, Share
    from icehouse.custody.custody import Means
    from icehouse.custody.opened import Opened
    from icehouse.custody.roots import RootKeys
    from icehouse.hsm import Hsm
    from icehouse.model import Key, PathOfEpoch, Purpose, RootKey, StandingOffer, VaultRecord, WrappedKey

    OpenedNodes = Opened[str | int, Node]
    _Role: TypeAlias = Literal["current", "pending"]

_PARTICIPANTS = 2
_FIXED = "a hierarchical vault cannot move its master: every share follows from it"


class HierarchicalCustody:
    """One root key, `master`. Rows hold public facts and epochs, and a tag under a key derived from the user's node."""

    name: ClassVar[str] = "hierarchical"
    roles: ClassVar[tuple[Role, ...]] = (Role.MASTER,)
    refuses: ClassVar[Mapping[Verb, Refusal]] = MappingProxyType(
        {
            Verb.RESEAL: Refusal("a hierarchical vault seals nothing, so there is nothing to reseal"),
            Verb.RENEW: Refusal(
                "a hierarchical vault has no new master: every share follows from the one it has",
                "convert it: icehouse rewrap --to-custody hybrid",
            ),
            Verb.REWRAP: Refusal(_FIXED, "convert it: icehouse rewrap --to-custody hybrid"),
            Verb.MOVE: Refusal(_FIXED, "convert it first: icehouse rewrap --to-custody hybrid"),
            Verb.FALL_BACK: Refusal(
                "a hierarchical vault has no fallback to software: every share follows from its master, which never "
                "moves",
                "take hybrid or direct custody, or leave the fallback out",
            ),
            Verb.SPLIT_CLAIM: Refusal(
                "--claim-hsm is for hybrid and direct custody: a hierarchical vault has one root key"
            ),
        }
    )
    users_own: ClassVar[bool] = False
    pages_together: ClassVar[int] = 16
    data_keys_per_page: ClassVar[int] = 4
    converts_to: ClassVar[str] = "hybrid"

    def __init__(self, record: VaultRecord, roots: RootKeys, opened: OpenedNodes) -> None:
        self.roots = roots
        self._record = record
        self._opened = opened

    @classmethod
    def over(cls, means: Means) -> Self:
        """The custody of a vault."""
        return cls(means.record, means.roots, means.nodes)

    @property
    def hsm(self) -> Hsm:
        """The HSM of the master key."""
        return self.roots.main

    @property
    def is_converted(self) -> bool:
        """Never: no vault becomes hierarchical."""
        return False

    def in_software(self, key: Key | None = None) -> bool:
        """Never: a master could not leave the software module again."""
        del key
        return False

    def root_key(self, purpose: Purpose, key: Key | None, *, software: bool = False) -> str | None:
        """No data key is wrapped."""
        del purpose, key, software
        return None

    # Nodes

    def _master(self) -> RootKey:
        root = self._record.current(Role.MASTER) or self._record.newest(Role.MASTER)
        if root is None:
            msg = "the vault's database names no master key"
            raise SealError(msg)
        return root

    def _name(self, user: str) -> str | int:
        return bucket(user, self._record.buckets) if self._record.buckets else user

    def node(self, user: str) -> Node:
        """The node of a user's bucket, or of the user. One HSM operation, unless it was made lately."""
        name = self._name(user)
        found = self._opened.take(name)
        return self._made(name, user) if found is None else found

    def _made(self, name: str | int, user: str) -> Node:
        hsm, master = self.roots.find(self._master().label, KeyKind.HMAC)
        made = hsm.mac(master, node_message(self._record.vault_id, user, self._record.buckets))
        self._opened.keep(name, made)
        return made

    def nodes(self, users: Sequence[str]) -> list[Node]:
        """The nodes of many users, each bucket asked for once."""
        made: dict[str | int, Node] = {}
        for user in users:
            name = self._name(user)
            if name not in made:
                made[name] = self.node(user)
        return [made[self._name(user)] for user in users]

    def is_ready(self, key: Key, number: int) -> bool:
        """Whether the user's node was made lately."""
        del number
        return self._opened.take(self._name(key.user)) is not None

    def forget(self) -> None:
        """Forget the nodes: the HSM makes them again."""
        self._opened.forget()

    def renew(self, key: Key, numbers: Sequence[int]) -> None:
        """Ask the HSM again for a node in use, before its time is over."""
        del numbers
        name = self._name(key.user)
        if self._opened.ageing(name) is not None:
            with suppress(IcehouseError):  # it goes when its time is over, and whoever asks then is told why
                self._made(name, key.user)

    # Data keys, of which there are none

    def _none(self) -> NoReturn:
        # A row that names a data key came from a process that converted this vault meanwhile.
        raise StaleRootsError

    def wrap(self, number: int, purpose: Purpose, root_key: str, key: DataKey) -> WrappedKey:
        """Nothing is wrapped here."""
        del number, purpose, root_key, key
        self._none()

    def unwrap(self, wrapped: WrappedKey) -> DataKey:
        """Nothing is wrapped here."""
        del wrapped
        self._none()

    def new_data_key(self, number: int, purpose: Purpose, root_key: str) -> OpenKey:
        """Nothing is sealed here."""
        del number, purpose, root_key
        self._none()

    def open_wrapped(self, wrapped: WrappedKey) -> OpenKey:
        """Nothing is sealed here."""
        del wrapped
        self._none()

    def open_number(self, number: int, purpose: Purpose) -> OpenKey:
        """Nothing is sealed here."""
        del number, purpose
        self._none()

    # Shares

    def deal(self, user: str, path: PathOfEpoch) -> tuple[bytes, list[Share]]:
        """What follows from the user's node at this path."""
        return derive(self.node(user), user, path)

    def is_outdated(self, key: Key) -> bool:
        """Never: no vault becomes hierarchical."""
        del key
        return False

    def _path(self, key: Key, epoch: int, offer_id: bytes | None) -> PathOfEpoch:
        return (key.suite, key.generation, THRESHOLD, _PARTICIPANTS, epoch, offer_id or NO_OFFER_ID)

    def _checked(self, key: Key) -> Node:
        """The user's node, once the row's tag fits."""
        if key.sealed.data_key != NO_DATA_KEY:
            self._none()
        node = self.node(key.user)
        self._check(key, node, "current", key.sealed)
        return node

    @staticmethod
    def _check(key: Key, node: Node, role: _Role, sealed: Sealed, columns: PendingColumns | None = None) -> None:
        try:
            key.row.check_tag(role, node, SERVER_NUMBER, sealed.record, columns)
        except (IcehouseError, OverflowError, TypeError) as exc:
            msg = f"the {role} row of {key.user!r} was changed: {exc}"
            raise SealError(msg) from exc

    def open_share(self, key: Key) -> Share:
        """The server's share of the current epoch."""
        return derive_share(self._checked(key), key.user, self._path(key, key.epoch, key.offer_id), SERVER_NUMBER)

    def open_claim(self, key: Key) -> Share:
        """The device's share of epoch 0, which no device is ever dealt."""
        return derive_share(self._checked(key), key.user, self._path(key, key.epoch, key.offer_id), DEVICE_NUMBER)

    def open_pending(self, key: Key, offer: StandingOffer) -> Share:
        """The server's share of an offered epoch."""
        if offer.sealed.data_key != NO_DATA_KEY:
            self._none()
        node = self._checked(key)
        self._check(key, node, "pending", offer.sealed, offer.columns)
        return derive_share(node, key.user, self._path(key, offer.epoch, offer.offer_id), SERVER_NUMBER)

    def enrolment_code(self, key: Key) -> MacKey:
        """The enrolment code of the salt in force."""
        if key.salt is None:
            msg = f"the code's salt of {key.user!r} is missing"
            raise SealError(msg)
        return self._checked(key).enrolment_code(self._record.vault_id, key.key_id, key.salt)

    def draw(self, key: Key, epoch: int, offer_id: bytes, *, whole: bool) -> Drawn:
        """The next epoch of the same derivation."""
        node = self._checked(key)
        commitments, (device, server) = derive(node, key.user, self._path(key, epoch, offer_id))
        if whole:
            return Drawn(commitments, server, device)
        own = derive_share(node, key.user, self._path(key, key.epoch, key.offer_id), DEVICE_NUMBER)
        return Drawn(commitments, server, device.minus(own))

    def seal_share(self, key: Key, share: Share, under: OpenKey) -> Sealed:
        """Tag this row; the share itself is derived again when it is needed."""
        del share, under
        return Sealed(NO_DATA_KEY, key.row.tag("current", self.node(key.user), SERVER_NUMBER))

    def seal_claim(self, key: Key, share: Share, under: OpenKey) -> Sealed | None:
        """Nothing is kept of the device's share."""
        del key, share, under
        return None

    def seal_pending(self, key: Key, offer: StandingOffer, share: Share, under: OpenKey) -> Sealed:
        """Tag the offer."""
        del share, under
        return Sealed(NO_DATA_KEY, key.row.tag("pending", self.node(key.user), SERVER_NUMBER, offer.columns))
