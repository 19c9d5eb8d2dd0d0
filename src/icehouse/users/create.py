"""Creation: a dealer in the core makes both shares, and both are stored sealed until a device claims its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse import arguments
from icehouse.errors import ConflictError, RequestError
from icehouse.model import DEFAULT_SUITE, SERVER, THRESHOLD, State, check_suite, check_user
from icehouse.store.bulk import keys_of
from icehouse.users.dealing import deal, prepare, write
from icehouse.users.recreate import recreate
from icehouse.vault.retry import DifferentKeyError, retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from icehouse.model import Key
    from icehouse.vault.vault import Vault


def check_participants(threshold: int, participants: Sequence[str]) -> str:
    """Return the user of a 2-of-2 `[user, "server"]`; any other shape is refused."""
    participants = arguments.texts(participants, "participants")
    if len(set(participants)) != len(participants):
        msg = "every participant must be listed once"
        raise RequestError(msg)
    if not THRESHOLD <= arguments.number(threshold, "threshold") <= len(participants):
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
    if not retry(vault, lambda: create_page(vault, [user], suite)):
        vault.store.database.confirm()  # who made it may not have been answered (ADR 0039)
    key = vault.store.key_of(user)
    if key is None:
        msg = f"the key of {user!r} vanished while it was being made"
        raise ConflictError(msg)
    return key


def create_page(vault: Vault, users: Sequence[str], suite: str, recreated: Callable[[], object] = lambda: None) -> int:
    """Make a key for those of at most 1,024 users who never had one, in one transaction; how many it made."""
    missing = without_key(vault, users, suite, recreated)
    if not missing:
        return 0
    dealing = prepare(vault, missing, suite)
    write(vault, [deal(vault, dealing)])
    if dealing.cut is not None:
        raise dealing.cut
    return len(missing)


def without_key(
    vault: Vault, users: Sequence[str], suite: str, recreated: Callable[[], object] = lambda: None
) -> list[str]:
    """Those of the users who never had a key; who had one that was destroyed gets one of the next generation.

    `recreated` is called for each of the latter. Raises `ConflictError` where one has a key of another suite.
    """
    found = keys_of(vault.store, users)
    for key in found.values():
        if key.state is State.DESTROYED:
            recreate(vault, key, suite)
            recreated()
        elif key.suite != suite:
            msg = f"{key.user!r} has a key of another suite already: {key.suite}, not {suite}"
            raise DifferentKeyError(msg)
    return [user for user in users if user not in found]
