"""Verify: open every record of every key, and check each share against the commitments it must fit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from icehouse._core import check_page
from icehouse.errors import HsmUnavailableError, ProtocolError, SealError
from icehouse.model import DEVICE_NUMBER, SERVER_NUMBER, Key, State
from icehouse.vault.retry import work_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from icehouse._core import Group, Share
    from icehouse.vault.vault import Vault

    Held = tuple[Group, list[tuple[int, Share]]]

PAGE = 1024
Misfit = SealError | HsmUnavailableError


class _Page(NamedTuple):
    """Rows whose records were opened; of those that did not, what does not fit. `held` says whose shares to check."""

    found: list[Key | Misfit]
    owners: list[int]
    held: list[Held]


def check(vault: Vault, key: Key) -> None:
    """Open and check every record of one key; raises `SealError`."""
    found = _opened(vault, [key])
    for examined in _checked(found, check_page(found.held)):
        if isinstance(examined, Exception):
            raise examined


def examine(vault: Vault, readings: Iterable[Key | SealError]) -> Iterator[Key | Misfit]:
    """Each key whose records all open and fit, or what does not. The core checks a page while the next is opened.

    Where a fallback stands in for an HSM that is away, that is what is said of keys under the HSM.
    """
    rows = iter(readings)
    with ThreadPoolExecutor(1, "icehouse-check") as checker:
        waiting: tuple[_Page, Future[list[str | None]]] | None = None
        while page := list(islice(rows, PAGE)):
            found = _opened(vault, page)
            following = found, checker.submit(check_page, found.held)
            if waiting is not None:
                yield from _checked(waiting[0], waiting[1].result())
            waiting = following
        if waiting is not None:
            yield from _checked(waiting[0], waiting[1].result())


def _opened(vault: Vault, readings: Sequence[Key | SealError]) -> _Page:
    page = _Page([], [], [])
    for reading in readings:
        if isinstance(reading, SealError):
            page.found.append(reading)
            continue
        try:
            key, held = _shares(vault, reading)
        except (ProtocolError, SealError) as exc:
            page.found.append(_misfit(reading, str(exc)))
            continue
        except HsmUnavailableError as exc:
            if not vault.custody.roots.absent:
                raise
            page.found.append(exc)
            continue
        page.owners.extend([len(page.found)] * len(held))
        page.held.extend(held)
        page.found.append(key)
    return page


def _shares(vault: Vault, key: Key) -> tuple[Key, list[Held]]:
    """Every share that a row holds, beside the group that it must be of; of the row as it is now, where it moved."""
    opened: list[tuple[Key, list[Held]]] = []
    work_on(vault, key, lambda current: opened.append((current, _held(vault, current))))
    return opened[0]


def _held(vault: Vault, key: Key) -> list[Held]:
    if key.state is State.DESTROYED:
        return []
    shares = [(SERVER_NUMBER, vault.custody.open_share(key))]
    if key.state in {State.DEALT, State.LOST}:
        shares.append((DEVICE_NUMBER, vault.custody.open_claim(key)))
    held = [(key.group, shares)]
    if key.offer is not None:
        pending = vault.custody.open_pending(key, key.offer)  # first: it vouches for the columns that make the group
        held.append((key.offered_group(key.offer), [(SERVER_NUMBER, pending)]))
    return held


def _checked(page: _Page, wrong: Sequence[str | None]) -> Iterator[Key | Misfit]:
    found = list(page.found)
    for owner, words in zip(page.owners, wrong, strict=True):
        key = found[owner]
        if words is not None and isinstance(key, Key):
            found[owner] = _misfit(key, words)
    yield from found


def _misfit(key: Key, words: str) -> SealError:
    return SealError(f"a record of {key.user!r} does not fit: {words}")
