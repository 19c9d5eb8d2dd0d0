"""Creation: a dealer in the core makes both shares, and both are stored sealed until a device claims its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse._core import deal_page
from icehouse.ceremonies.vault import DifferentKeyError, retry
from icehouse.errors import ConflictError, RequestError
from icehouse.model import (
    DEFAULT_SUITE,
    RECORDS_PER_DATA_KEY,
    SERVER,
    THRESHOLD,
    BulkResult,
    Purpose,
    check_suite,
    check_user,
)
from icehouse.store.bulk import Making, insert_page, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from icehouse.ceremonies.vault import Vault
    from icehouse.model import Key


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
    create_all(vault, [user], suite)
    key = vault.store.key_of(user)
    if key is None:
        msg = f"the key of {user!r} vanished while it was being made"
        raise ConflictError(msg)
    return key


def create_all(vault: Vault, users: Iterable[str], suite: str = DEFAULT_SUITE) -> BulkResult:
    """Make a key for every user who has none, a page at a time. Every page is durable before the next begins."""
    check_suite(suite)
    created = existing = 0
    for asked, page in _pages(users):
        made = retry(lambda page=page: _create_page(vault, page, suite))  # type: ignore[misc]
        created += made
        existing += asked - made
    return BulkResult(created, existing)


def _pages(users: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Pages of different users, and how many each was asked for: one who is named twice is made once."""
    page: dict[str, None] = {}
    asked = 0
    for user in users:
        page[check_user(user)] = None
        asked += 1
        if len(page) == RECORDS_PER_DATA_KEY:
            yield asked, list(page)
            page.clear()
            asked = 0
    if page:
        yield asked, list(page)


def _create_page(vault: Vault, users: list[str], suite: str) -> int:
    found = keys_of(vault.store, users)
    for key in found.values():
        if (key.suite, key.generation) != (suite, 0):
            msg = f"{key.user!r} has a key of another suite already: {key.suite}, not {suite}"
            raise DifferentKeyError(msg)
    missing = [user for user in users if user not in found]
    if missing:
        _deal(vault, missing, suite)
    return len(missing)


def _deal(vault: Vault, users: list[str], suite: str) -> None:
    server = vault.slot(Purpose.SERVER, len(users))
    claim = vault.slot(Purpose.CLAIM, len(users))
    attested = vault.custody.hsm.info.attested
    dealt = deal_page(
        vault.vault_id,
        suite,
        SERVER,
        vault.origin,
        attested,
        (server.number, server.key),
        (claim.number, claim.key),
        users,
    )
    fresh = tuple(slot.wrapped for slot in (server, claim) if slot.fresh)
    insert_page(vault.store, users, dealt, Making(suite, vault.origin, attested, server.wrapped, claim.wrapped, fresh))
