"""Moving records: the same shares under other data keys, a page of rows in one transaction."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icehouse.errors import ConflictError
from icehouse.model import NO_DATA_KEY, SOFTWARE, Purpose, State, is_software
from icehouse.store import DataKeyFullError, data_keys
from icehouse.store.sweep import keys_at, keys_with, write_page
from icehouse.vault.records import Resealed, fresh_of
from icehouse.vault.retry import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from icehouse.custody import OpenKey
    from icehouse.model import Key
    from icehouse.vault.vault import Vault

PAGE = 256
"""Rows in one transaction. A page needs at most two server records and one claim record a row."""
_FEW = 1
_NAMED = 500
"""Data keys named in one statement: databases bound how many values one takes."""
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Slots:
    """The data keys that a page's records move to."""

    server: OpenKey
    claim: OpenKey


def moved(vault: Vault, key: Key, slots: Slots) -> Resealed:
    """A row with all its records under other data keys. A code in force is void: it followed from the old data key."""
    custody = vault.custody
    share = custody.open_share(key)
    unclaimed = key.state in {State.DEALT, State.LOST}
    device_share = custody.open_claim(key) if unclaimed else None
    pending = custody.open_pending(key, key.offer) if key.offer else None
    exposed = _leaves_software(vault, key, slots)
    after = replace(
        key,
        salt=None,
        due=vault.today if exposed and not vault.is_due(key) else key.due,
        again=key.again or (exposed and key.offer is not None),
    )
    after = replace(
        after,
        sealed=custody.seal_share(after, share, slots.server),
        claim=None if device_share is None else custody.seal_claim(after, device_share, slots.claim),
    )
    if key.offer is not None and pending is not None:
        sealed = custody.seal_pending(after, key.offer, pending, slots.server)
        after = replace(after, offer=replace(key.offer, sealed=sealed))
    return Resealed(after, fresh_of(slots.server, slots.claim) if unclaimed else fresh_of(slots.server))


def _leaves_software(vault: Vault, key: Key, slots: Slots) -> bool:
    """Whether a device's share was matched by one that a software module kept, and is to be rotated at once.

    What no device has claimed yet is new at the claim, except for what an offer that stands has in it already.
    """
    if key.origin != SOFTWARE or is_software(slots.server.wrapped.root_key):
        return False
    if key.state is State.DEALT and key.offer is None:
        return False
    sealed = [key.sealed, *([key.offer.sealed] if key.offer else [])]
    under = (vault.custody.open_number(record.data_key, Purpose.SERVER).wrapped for record in sealed)
    return any(is_software(wrapped.root_key) for wrapped in under)


def sweep(vault: Vault, numbers: Collection[int], advance: Callable[[int], None] = lambda _: None) -> int:
    """Move every record under these data keys (`NO_DATA_KEY`: every derived row); how many rows this call moved."""
    count = 0
    while done := _pass(vault, numbers, advance):
        count += done  # and once more from the start: what another process wrote back there meanwhile
    return count


def _pass(vault: Vault, numbers: Collection[int], advance: Callable[[int], None]) -> int:
    """Look at every row once."""
    # More data keys than a statement should name: rows of all between them are read, and those of others left.
    named = range(min(numbers), max(numbers) + 1) if len(numbers) > _NAMED else list(numbers)
    count = last = 0
    while page := keys_with(vault.store, named, PAGE, last):
        done = moved_together(vault, page, numbers)
        advance(done)
        count += done
        last = page[-1].id
    return count


def moved_together(vault: Vault, rows: Sequence[Key], numbers: Collection[int]) -> int:
    """Move at once those rows that still need it; where other processes go on writing to them meanwhile, row by row."""
    ids = [key.id for key in rows]
    for _ in range(_ATTEMPTS):
        with suppress(ConflictError, DataKeyFullError):
            return _page(vault, rows, numbers)
        rows = keys_at(vault.store, ids)
    return sum(move_row(vault, one, numbers) for one in ids)


def move_row(vault: Vault, row: int, numbers: Collection[int]) -> int:
    """Move one row, if it still needs it."""
    return retry(vault, lambda: _page(vault, keys_at(vault.store, [row]), numbers))


def _page(vault: Vault, rows: Sequence[Key], numbers: Collection[int]) -> int:
    """Move the rows of a page that still need it. Raises `ConflictError` where a row was written meanwhile."""
    rows = [key for key in rows if needs_moving(key, numbers)]
    if not rows:
        return 0
    mixed = len({key.origin for key in rows}) > 1 and vault.custody.in_software()
    if len(rows) > _FEW and (mixed or vault.custody.users_own):
        # Own keys: each user has a data key of their own. Mixed: some may go to where the others must not.
        return sum(move_row(vault, key.id, numbers) for key in rows)
    claims = sum(key.state in {State.DEALT, State.LOST} for key in rows)
    offers = sum(key.offer is not None for key in rows)
    server = vault.slot(Purpose.SERVER, len(rows) + offers, key=rows[0])
    claim = vault.slot(Purpose.CLAIM, claims, key=rows[0]) if claims else server
    done = [(key, moved(vault, key, Slots(server, claim))) for key in rows]
    write_page(
        vault.store, [(before, after.key) for before, after in done], fresh_of(server, *([claim] if claims else []))
    )
    return len(done)


def needs_moving(key: Key, numbers: Collection[int]) -> bool:
    """Whether a record of this row is under one of the data keys."""
    if key.state is State.DESTROYED:
        return False
    return any(number in numbers for number in key.slots()) or (
        NO_DATA_KEY in numbers and key.sealed.data_key == NO_DATA_KEY
    )


def retire(vault: Vault, numbers: list[int]) -> None:
    """Let these data keys take no more records.

    All of them before any record moves: one that leaves one must not come under another.
    """
    for at in range(0, len(numbers), _NAMED):
        data_keys.begin_retiring(vault.store.database, numbers[at : at + _NAMED])
