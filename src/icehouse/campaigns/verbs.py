"""What each verb does with a page. The work itself is the ceremonies'; a page says which rows."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, HsmRefusedError, HsmUnavailableError, IcehouseError, SealError, StoreError
from icehouse.model import Role, State
from icehouse.store import root_keys
from icehouse.store.leases import SupersededError
from icehouse.store.marking import mark_due
from icehouse.store.selection import data_keys_in, numbered_keys_in, unfinished_removals
from icehouse.upkeep import rewrap as rewrapping
from icehouse.upkeep import rewrap_users
from icehouse.users import destroy as destroying
from icehouse.users import suspend, verify
from icehouse.vault import move_records, retiring
from icehouse.vault.retry import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from icehouse.model import Key, WrappedKey
    from icehouse.store.leases import Lease
    from icehouse.vault.vault import Vault

_logger = logging.getLogger("icehouse")
_PASSES = 4
_TOGETHER = 256
"""Rows in one transaction."""
ENVIRONMENT = (HsmUnavailableError, StoreError, SupersededError)
"""What is no key's fault: the page is given back, and tried again."""


@dataclass
class Page:
    """A page being worked on. `alive` is called every few keys, so that a long page is not taken for a stalled one."""

    vault: Vault
    lease: Lease
    alive: Callable[[], None]
    found: list[tuple[int, str, IcehouseError]]
    """What could not be done: written down with the page's end."""
    examined: int = 0

    def readable(self) -> Iterator[Key]:
        """The page's keys; a row that contradicts itself is a finding."""
        lease = self.lease
        for number, reading in numbered_keys_in(self.vault.store, lease.filters, lease.first, lease.last):
            if isinstance(reading, SealError):
                self.found.append((number, f"row {number}", reading))
            else:
                yield reading

    def wrapped(self) -> list[WrappedKey]:
        """The page's data keys that are still to be moved and did not fail; a row that is none is a finding."""
        lease, whole = self.lease, []
        failed = {number for number, _, _ in self.found}
        for number, reading in data_keys_in(self.vault.store.database, lease.filters, lease.first, lease.last):
            if number in failed:
                continue
            if isinstance(reading, SealError):
                self.found.append((number, f"data key {number}", reading))
            else:
                whole.append(reading)
        return whole

    def passing(self, reading: Key | SealError) -> Key | SealError:
        """A row on its way to be worked on."""
        self.alive()
        return reading

    def each(self, subject: int, whose: str, work: Callable[[], object]) -> bool:
        """Do one key's work; what fails for the key alone is a finding. Whether it was done."""
        self.alive()
        try:
            work()
        except ENVIRONMENT:
            raise
        except IcehouseError as exc:
            self.found.append((subject, whose, exc))
            return False
        return True


def end(page: Page, connection: Connection) -> None:
    """The transaction that ends the page: the findings, what `verify` and `rotate` count, and that it is done."""
    for subject, whose, error in page.found:
        page.lease.find(connection, subject, whose, error)
    work = page.examined
    if page.lease.campaign.verb == "rotate":
        work = mark_due(connection, page.lease.filters, page.lease.first, page.lease.last)
    if work:
        page.lease.count(connection, work)
    page.lease.finish(connection)


def _rotate(page: Page) -> None:
    """One statement marks the whole page, in the transaction that ends it."""


def _verify(page: Page) -> None:
    lease = page.lease
    rows = numbered_keys_in(page.vault.store, lease.filters, lease.first, lease.last)
    try:
        examined = list(verify.examine(page.vault, (page.passing(reading) for _, reading in rows)))
    except HsmRefusedError:
        # The HSM refuses one key, or all of them: one by one, each has a reason of its own.
        for key in page.readable():
            page.examined += page.each(key.id, key.user, partial(verify.check, page.vault, key))
        return
    for (number, reading), found in zip(rows, examined, strict=True):
        if isinstance(found, SealError | HsmUnavailableError):
            whose = f"row {number}" if isinstance(reading, SealError) else reading.user
            page.found.append((number, whose, found))
        else:
            page.examined += 1


def _rewrap(page: Page) -> None:
    lease = page.lease
    _rewrap_together(page.vault, page.wrapped())
    for _ in range(_PASSES):
        pending = page.wrapped()
        if not pending:
            return
        for wrapped in pending:
            page.each(wrapped.number, f"data key {wrapped.number}", partial(_rewrap_one, page.vault, wrapped))
    msg = f"other processes move the data keys {lease.first} to {lease.last} at the same time"
    raise StoreError(msg)


def _rewrap_together(vault: Vault, under: list[WrappedKey]) -> None:
    """Each root key's data keys in one transaction: what is durable one after the other is what workers wait for."""
    for label in {wrapped.root_key for wrapped in under}:
        root = root_keys.root_of(vault.store.database, label)
        if root is None or root.role is Role.USER:
            continue
        # Where one of them does not open, or another process moves them, too, they are done one by one.
        with suppress(ConflictError, HsmRefusedError, SealError):
            rewrapping.rewrapped_together(vault, [wrapped for wrapped in under if wrapped.root_key == label], root)


def _rewrap_one(vault: Vault, wrapped: WrappedKey) -> None:
    root = root_keys.root_of(vault.store.database, wrapped.root_key)
    if root is None:
        msg = f"data key {wrapped.number} is under {wrapped.root_key!r}, which is no root key of this vault"
        raise SealError(msg)
    if root.role is Role.USER:
        rewrap_users.moved_user(vault, root)
    elif not rewrapping.rewrapped(vault, wrapped, root):
        vault.refresh()


def _reseal(page: Page) -> None:
    vault, filters = page.vault, page.lease.filters
    rows = list(page.readable())
    named = set(filters.data_keys)
    for at in range(0, len(rows), _TOGETHER):
        page.alive()
        some = rows[at : at + _TOGETHER]
        old = {
            number
            for key in some
            for number in key.slots()
            if (number in named if named else filters.below is None or number < filters.below)
        }
        numbers = sorted(old)
        try:
            move_records.moved_together(vault, some, numbers)
        except ENVIRONMENT:
            raise
        except IcehouseError:
            for key in some:
                page.each(key.id, key.user, partial(move_records.move_row, vault, key.id, numbers))


def _destroy(page: Page) -> None:
    vault = page.vault
    rows = list(page.readable())
    for at in range(0, len(rows), _TOGETHER):
        page.alive()
        some = rows[at : at + _TOGETHER]
        try:
            vault.store.remove_all([(key, destroying.tombstone(key)) for key in some])
        except ConflictError:
            for key in some:
                page.each(key.id, key.user, partial(retry, vault, partial(_removed, page, key.id)))
    if vault.custody.users_own:
        # Also those whose worker was killed before it got there. Each has a key of their own in the HSM, which stays:
        # whoever writes the database writes campaigns, too, and no backup would bring it back (ADR 0028).
        for key in unfinished_removals(vault.store, page.lease.first, page.lease.last):
            page.each(key.id, key.user, partial(retiring.drop_data_keys_of, vault, key))
    leftover = vault.store.database.shrink()
    if leftover is not None:
        _logger.warning("%s; %s", leftover, leftover.hint)


def _removed(page: Page, row: int) -> None:
    """Remove one key, if it still matches: what was written to it meanwhile may be its device's first commit."""
    for _, reading in numbered_keys_in(page.vault.store, page.lease.filters, row, row):
        if isinstance(reading, SealError):
            raise reading
        page.vault.store.remove(reading, destroying.tombstone(reading))


def _suspend(page: Page) -> None:
    before = page.lease.filters.due_before or 0

    def overdue(key: Key) -> bool:
        return 0 < key.due < before and key.state is State.LIVE

    for key in page.readable():
        page.each(key.id, key.user, partial(suspend.suspend, page.vault, key.user, overdue))


VERBS: dict[str, Callable[[Page], None]] = {
    "rotate": _rotate,
    "rewrap": _rewrap,
    "reseal": _reseal,
    "verify": _verify,
    "destroy": _destroy,
    "suspend": _suspend,
}
"""Every verb, and its work on a page."""
