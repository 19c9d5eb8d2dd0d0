"""Creation of many keys: the core deals the next page on all cores while the database writes this one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from icehouse.ceremonies.dealing import deal, prepare, write
from icehouse.ceremonies.keygen import create_page, without_key
from icehouse.ceremonies.vault import retry
from icehouse.errors import ConflictError, HsmRefusedError
from icehouse.model import DEFAULT_SUITE, RECORDS_PER_DATA_KEY, BulkResult, check_suite, check_user
from icehouse.store import DataKeyFullError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from icehouse.ceremonies.dealing import Dealing, Dealt
    from icehouse.ceremonies.vault import Vault

T = TypeVar("T")
_TOGETHER = 16
"""How many pages share a transaction: it is as durable as sixteen, and writes each part of an index once."""
_NUMBERS = 16
"""How many numbers of data keys are allocated at once; a run that ends early leaves some unused."""


def create_all(vault: Vault, users: Iterable[str], suite: str = DEFAULT_SUITE) -> BulkResult:
    """Make a key for every user who has none, a page of 1,024 at a time.

    Pages are written in order, up to sixteen in a transaction; twice as many are in memory at most, besides the one
    that `users` fills. What went wrong with a page, or with reading `users`, is raised when every transaction before it
    is durable; nothing after it is written.
    """
    run = _Run(vault, check_suite(suite))
    with ThreadPoolExecutor(1, "icehouse-deal") as dealer:
        # Keys inside the HSM are few and dear: a page of them is written as soon as they are there.
        together = 1 if vault.custody.name == "direct" else _TOGETHER
        for steps in _one_ahead(_in_groups(run.start(users, dealer), together)):
            run.finish(steps)
    return BulkResult(run.created, run.existing)


class _Run:
    """One bulk creation under way, and its counts."""

    def __init__(self, vault: Vault, suite: str) -> None:
        self.vault = vault
        self.suite = suite
        self.created = 0
        self.existing = 0
        self._numbers = _allocated(vault)
        self._all_new = False
        """Whether nobody of the last page had a key: the next one is not looked up, the database refuses it as well."""

    def start(self, users: Iterable[str], dealer: ThreadPoolExecutor) -> Iterator[tuple[Dealing, Future[Dealt]]]:
        """Ask the HSM for what each page needs, and have it dealt."""
        for page in self._missing(users):
            try:
                dealing = prepare(self.vault, page, self.suite, self._numbers)
            except (ConflictError, HsmRefusedError):
                self._again(page)  # another process made some of them, or the root keys that this one knew are gone
                continue
            yield dealing, dealer.submit(deal, self.vault, dealing)

    def finish(self, steps: Sequence[tuple[Dealing, Future[Dealt]]]) -> None:
        """Write pages, all at once. Where another writer came first, each on its own."""
        dealt: list[Dealt] = []
        try:
            dealt.extend(future.result() for _, future in steps)
        finally:
            if dealt:
                self._write(dealt)

    def _write(self, pages: Sequence[Dealt]) -> None:
        try:
            write(self.vault, pages)
        except (ConflictError, DataKeyFullError):
            self._all_new = False
            if len(pages) > 1:
                for page in pages:
                    self._write([page])
            else:
                self._again(pages[0].dealing.users)
        else:
            self.created += sum(len(page.dealing.users) for page in pages)

    def _again(self, users: Sequence[str]) -> None:
        made = retry(self.vault, lambda: create_page(self.vault, users, self.suite))
        self.created += made
        self.existing += len(users) - made

    def _missing(self, users: Iterable[str]) -> Iterator[list[str]]:
        """Full pages of users who have no key, whatever lies between them; the last may be short."""
        missing: dict[str, None] = {}
        for asked, page in _pages(users):
            fresh = page if self._all_new else without_key(self.vault, page, self.suite)
            self._all_new = len(fresh) == len(page) and self.vault.custody.name != "direct"
            before = len(missing)
            missing.update(dict.fromkeys(fresh))
            self.existing += asked - (len(missing) - before)
            while len(missing) >= RECORDS_PER_DATA_KEY:
                yield _take(missing)
        if missing:
            yield list(missing)


def _take(missing: dict[str, None]) -> list[str]:
    page = list(missing)[:RECORDS_PER_DATA_KEY]
    for user in page:
        del missing[user]
    return page


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


def _allocated(vault: Vault) -> Iterator[int]:
    """Numbers for data keys, without a transaction for each."""
    while True:
        first = vault.store.allocate_data_keys(_NUMBERS)
        yield from range(first, first + _NUMBERS)


def _in_groups(steps: Iterator[T], most: int) -> Iterator[list[T]]:
    """One step, two, four, up to `most` at a time; what there is of a group also where the next cannot be started."""
    group: list[T] = []
    size = 1  # the first is written while the second is dealt
    try:
        for step in steps:
            group.append(step)
            if len(group) == size:
                yield group
                group, size = [], min(2 * size, most)
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group


def _one_ahead(steps: Iterator[T]) -> Iterator[T]:
    """Each step once the next one is started; the last also where the next cannot be started."""
    waiting: list[T] = []
    try:
        for step in steps:
            waiting.append(step)
            if len(waiting) > 1:
                yield waiting.pop(0)
    except Exception:
        yield from waiting
        raise
    yield from waiting
