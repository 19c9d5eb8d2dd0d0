"""Recreate: a user whose key was destroyed gets one of the next generation, in the tombstone's row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse.model import (
    DEVICE_NUMBER,
    NO_DATA_KEY,
    NO_OFFER_ID,
    SERVER_NUMBER,
    THRESHOLD,
    Purpose,
    Sealed,
    State,
    role_of_own,
    user_label,
)
from icehouse.store import root_keys
from icehouse.users.dealing import announce_own, own_data_key
from icehouse.vault.records import fresh_of
from icehouse.vault.retiring import drop_data_keys_of
from icehouse.vault.root_keys import check_room

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from icehouse.custody import OpenKey
    from icehouse.model import Key
    from icehouse.vault.vault import Vault

_PARTICIPANTS = 2


def recreate(vault: Vault, tombstone: Key, suite: str) -> Key:
    """Deal a fresh key of the next generation. Raises `ConflictError` where another process came first."""
    if vault.custody.users_own:
        # Before its traces are overwritten. Whoever writes the database can call a user removed, so the HSM key is left
        # to a trim that someone consents to (ADR 0030).
        drop_data_keys_of(vault, tombstone)
    software = vault.custody.in_software()
    origin, attested = vault.birth(software=software)
    fresh = replace(
        tombstone,
        suite=suite,
        generation=tombstone.generation + 1,
        epoch=0,
        next_epoch=1,
        state=State.DEALT,
        origin=origin,
        attested=attested,
        due=0,
        again=False,
        sealed=Sealed(NO_DATA_KEY, b""),
    )
    path = (suite, fresh.generation, THRESHOLD, _PARTICIPANTS, 0, NO_OFFER_ID)
    commitments, shares = vault.custody.deal(fresh.user, path)
    fresh = replace(fresh, commitments=commitments)
    under, roots = _under(vault, fresh, software=software)
    claim = vault.slot(Purpose.CLAIM, software=software)
    after = replace(
        fresh,
        sealed=vault.custody.seal_share(fresh, shares[SERVER_NUMBER - 1], under),
        claim=vault.custody.seal_claim(fresh, shares[DEVICE_NUMBER - 1], claim),
    )

    def work(connection: Connection) -> None:
        for label in roots:
            root_keys.make_current(connection, label)
        vault.store.replace_in(connection, tombstone, after, fresh_of(under, claim))

    vault.store.database.change(work)
    return after


def _under(vault: Vault, key: Key, *, software: bool) -> tuple[OpenKey, list[str]]:
    """The data key of the server's record, and the user's own root key that was made for it."""
    if not vault.custody.users_own:
        return vault.slot(Purpose.SERVER, key=key, software=software), []
    label = user_label(key.key_id, 1, software=software)
    hsm = vault.custody.roots.home(role_of_own(label))
    check_room(hsm, [label])
    (label,) = announce_own(vault, [label])
    return own_data_key(vault, hsm, label, vault.store.allocate_data_keys(1)), [label]
