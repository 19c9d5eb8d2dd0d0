"""Creation: a dealer in the core makes both shares, and both are stored sealed until a device claims its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from icehouse._core import deal_page
from icehouse.ceremonies.vault import DifferentKeyError, retry
from icehouse.errors import ConflictError, RequestError
from icehouse.model import (
    DEFAULT_SUITE,
    SERVER,
    THRESHOLD,
    Purpose,
    check_suite,
    check_user,
)
from icehouse.store.bulk import Making, insert_page, keys_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icehouse.ceremonies.vault import Vault
    from icehouse.custody import OpenKey
    from icehouse.model import Key
    from icehouse.store.bulk import DealtRow


def check_participants(threshold: int, participants: Sequence[str]) -> str:
    """Return the user of a 2-of-2 `[user, "server"]`; any other shape is refused."""
    if len(set(participants)) != len(participants):
        msg = "every participant must be listed once"
        raise RequestError(msg)
    if not THRESHOLD <= threshold <= len(participants):
        msg = f"threshold must be between 2 and the number of participants ({len(participants)}), not {threshold}"
        raise RequestError(msg)
    if threshold != THRESHOLD or len(participants) != THRESHOLD or participants[1] != SERVER:
        asked = f"{threshold}-of-{len(participants)} {list(participants)!r}"
        msg = f"keys are 2-of-2 with participants [user, {SERVER!r}] for now, not {asked}"
        raise RequestError(msg)
    return check_user(participants[0])


def create(vault: Vault, user: str, suite: str = DEFAULT_SUITE) -> Key:
    """Make a user's key, or return the one there is; raises `ConflictError` where it differs."""
    check_suite(suite)
    retry(lambda: create_page(vault, [user], suite))
    key = vault.store.key_of(user)
    if key is None:
        msg = f"the key of {user!r} vanished while it was being made"
        raise ConflictError(msg)
    return key


def create_page(vault: Vault, users: Sequence[str], suite: str) -> int:
    """Make a key for those of at most 1,024 users who have none, in one transaction; how many it made."""
    missing = without_key(vault, users, suite)
    if missing:
        write(vault, deal(vault, take_data_keys(vault, missing, suite)))
    return len(missing)


def without_key(vault: Vault, users: Sequence[str], suite: str) -> list[str]:
    """Those of the users who have no key; raises `ConflictError` where one has a key of another suite."""
    found = keys_of(vault.store, users)
    for key in found.values():
        if (key.suite, key.generation) != (suite, 0):
            msg = f"{key.user!r} has a key of another suite already: {key.suite}, not {suite}"
            raise DifferentKeyError(msg)
    return [user for user in users if user not in found]


class Dealing(NamedTuple):
    """A page about to be dealt: its users, and the data keys it will be sealed under."""

    users: Sequence[str]
    suite: str
    server: OpenKey
    claim: OpenKey


class Dealt(NamedTuple):
    """A page dealt and sealed, in no database yet."""

    dealing: Dealing
    rows: Sequence[DealtRow]


def take_data_keys(vault: Vault, users: Sequence[str], suite: str) -> Dealing:
    """Take the data keys of a page. All of a page that may ask the HSM."""
    room = len(users)
    return Dealing(users, suite, vault.slot(Purpose.SERVER, room), vault.slot(Purpose.CLAIM, room))


def deal(vault: Vault, dealing: Dealing) -> Dealt:
    """Deal and seal a page, on all cores and without holding the interpreter."""
    server, claim = dealing.server, dealing.claim
    rows = deal_page(
        vault.vault_id,
        dealing.suite,
        SERVER,
        vault.origin,
        vault.custody.hsm.info.attested,
        (server.number, server.key),
        (claim.number, claim.key),
        dealing.users,
    )
    return Dealt(dealing, rows)


def write(vault: Vault, dealt: Dealt) -> None:
    """Write a page; it is durable when this returns. Raises `ConflictError` and `DataKeyFullError`."""
    _, suite, server, claim = dealt.dealing
    attested = vault.custody.hsm.info.attested
    fresh = tuple(slot.wrapped for slot in (server, claim) if slot.fresh)
    making = Making(suite, vault.origin, attested, server.number, claim.number, fresh)
    insert_page(vault.store, dealt.dealing.users, dealt.rows, making)
