"""A page of new keys in three steps: what may ask the HSM, what needs all cores, what the database makes durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from icehouse._core import DataKey, deal_page, derive_page, key_id
from icehouse.custody import NOTHING_TO_OPEN, OpenKey
from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import KeyKind, labelled
from icehouse.model import NO_DATA_KEY, SERVER, STAND_INS, Purpose, Role, StaleRootsError, is_software, user_label
from icehouse.store import root_keys
from icehouse.store.bulk import Making, NewPage, insert_pages
from icehouse.vault.root_keys import check_room

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from icehouse._core import Node
    from icehouse.hsm import Hsm
    from icehouse.store.bulk import DealtRow
    from icehouse.vault.vault import Vault


class Dealing(NamedTuple):
    """A page about to be dealt: its users, and what its shares will be sealed under or derived from."""

    users: Sequence[str]
    suite: str
    servers: Sequence[OpenKey]
    """One for all, or one for each."""
    claim: OpenKey
    nodes: Sequence[Node] = ()
    roots: tuple[str, ...] = ()
    software: bool = False
    """Made under the module that stands in for an HSM that is away."""
    cut: HsmUnavailableError | None = None
    """Why the page is shorter than asked for; to be raised when what there is of it is written."""


class Dealt(NamedTuple):
    """A page dealt, in no database yet."""

    dealing: Dealing
    rows: Sequence[DealtRow]


def prepare(vault: Vault, users: Sequence[str], suite: str, numbers: Iterator[int] | None = None) -> Dealing:
    """Ask the HSM for what a page needs. Refused before anything is made where the HSM has no room.

    `numbers`: for fresh data keys, where they were allocated for several pages at once.
    """
    nodes = vault.custody.nodes(users)
    if nodes is not None:
        return Dealing(users, suite, [NOTHING_TO_OPEN], NOTHING_TO_OPEN, nodes)
    # Asked once: both halves of a key come under the same, although the HSM may come back in between.
    software = vault.custody.in_software()
    if vault.custody.users_own:
        return _own_keys(vault, users, suite, software=software)
    claim = vault.slot(Purpose.CLAIM, len(users), software=software, numbers=numbers)
    server = vault.slot(Purpose.SERVER, len(users), software=software, numbers=numbers)
    return Dealing(users, suite, [server], claim, software=software)


def _own_keys(vault: Vault, users: Sequence[str], suite: str, *, software: bool) -> Dealing:
    """A key inside the HSM for every user, written down before it is made, and a data key under it."""
    hsm = vault.custody.roots.home(STAND_INS[Role.USER] if software else Role.USER)
    labels = [user_label(key_id(vault.vault_id, user, suite, 0), 1, software=software) for user in users]
    check_room(hsm, labels)
    claim = vault.slot(Purpose.CLAIM, len(users), software=software)
    # Written down before they are made, so that a crash leaves none that nobody can name.
    labels = announce_own(vault, labels)
    first = vault.store.allocate_data_keys(len(labels))
    servers: list[OpenKey] = []
    cut = None
    try:
        for number, label in enumerate(labels, first):
            servers.append(own_data_key(vault, hsm, label, number))
    except HsmUnavailableError as exc:
        if not servers:
            raise
        # Keys in an HSM are slow and dear to make, most of all under a quota: those that are there are written.
        cut = HsmUnavailableError(
            f"{len(servers)} of {len(labels)} users' keys were made and are written, and no more: {exc}", hint=exc.hint
        )
    made = len(servers)
    return Dealing(users[:made], suite, servers, claim, roots=tuple(labels[:made]), software=software, cut=cut)


def announce_own(vault: Vault, labels: Sequence[str]) -> list[str]:
    """Write down users' own keys that are about to be made; the labels to make them under."""
    software = any(map(is_software, labels))
    claim = vault.custody.root_key(Purpose.CLAIM, None, software=software) or ""
    return root_keys.announce_users(vault.store.database, labels, claim)


def make_or_take_up(vault: Vault, hsm: Hsm, label: str) -> None:
    """Make an announced key in an HSM. One that is there was left by a crash, or comes from a process at the same."""
    try:
        hsm.create_key(label, KeyKind.AES)
    except HsmRefusedError:
        if labelled(hsm, label) is None:
            raise
    vault.custody.roots.made(label, hsm)


def own_data_key(vault: Vault, hsm: Hsm, label: str, number: int) -> OpenKey:
    """A user's own key in the HSM and a fresh data key under it; a key that a crash left behind is taken up."""
    make_or_take_up(vault, hsm, label)
    return vault.custody.new_data_key(number, Purpose.SERVER, label)


def deal(vault: Vault, dealing: Dealing) -> Dealt:
    """Deal a page, on all cores and without holding the interpreter."""
    facts = (vault.vault_id, dealing.suite, SERVER, *vault.birth(software=dealing.software))
    if dealing.nodes:
        return Dealt(dealing, derive_page(*facts, list(zip(dealing.users, dealing.nodes, strict=True))))
    claim = (dealing.claim.number, _key_of(dealing.claim))
    if len(dealing.servers) == 1:
        own = dealing.servers[0]
        return Dealt(dealing, deal_page(*facts, (own.number, _key_of(own)), claim, dealing.users))
    rows = [
        row
        for user, own in zip(dealing.users, dealing.servers, strict=True)
        for row in deal_page(*facts, (own.number, _key_of(own)), claim, [user])
    ]
    return Dealt(dealing, rows)


def _key_of(slot: OpenKey) -> DataKey:
    if slot.key is None:
        raise StaleRootsError
    return slot.key


def write(vault: Vault, pages: Sequence[Dealt]) -> None:
    """Write pages, all or none; they are durable when this returns. Raises `ConflictError` and `DataKeyFullError`."""
    insert_pages(vault.store, [NewPage(page.dealing.users, page.rows, _making(vault, page.dealing)) for page in pages])


def _making(vault: Vault, dealing: Dealing) -> Making:
    each = [slot.number for slot in dealing.servers]
    return Making(
        dealing.suite,
        *vault.birth(software=dealing.software),
        each * len(dealing.users) if len(each) == 1 else each,
        dealing.claim.number if dealing.claim is not NOTHING_TO_OPEN else NO_DATA_KEY,
        tuple(slot.wrapped for slot in (*dealing.servers, dealing.claim) if slot.fresh),
        dealing.roots,
    )


__all__ = ["Dealing", "Dealt", "announce_own", "deal", "make_or_take_up", "own_data_key", "prepare", "write"]
