"""Creation of many keys: the core deals the next page on all cores while the database writes this one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from icehouse.errors import ConflictError, HsmRefusedError, IcehouseError
from icehouse.model import DEFAULT_SUITE, RECORDS_PER_DATA_KEY, BulkResult, check_suite, check_user
from icehouse.store import DataKeyFullError
from icehouse.users.create import create_page, without_key
from icehouse.users.dealing import deal, prepare, write
from icehouse.vault.retry import OvertakenError, retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from icehouse.errors import HsmUnavailableError
    from icehouse.users.dealing import Dealt
    from icehouse.vault.vault import Vault

T = TypeVar("T")
_NUMBERS = 16
"""How many numbers of data keys are allocated at once; a run that ends early leaves some unused."""


class _Step(NamedTuple):
    """A page of users and its dealing under way; none where it is to be looked up again in its turn."""

    users: Sequence[str]
    dealt: Future[Dealt] | None
    cut: HsmUnavailableError | None = None
    """Why the page is not whole; it is the last one then."""


def create_all(vault: Vault, users: Iterable[str], suite: str = DEFAULT_SUITE) -> BulkResult:
    """Make a key for every user who has none, a page of 1,024 at a time.

    Pages are written in order, up to sixteen in a transaction; twice as many are in memory at most, besides the one
    that `users` fills. What went wrong with a page, or with reading `users`, is raised when every transaction before it
    is durable; nothing after it is written. The error says how many users the run had made by then.
    """
    run = _Run(vault, check_suite(suite))
    dealer = ThreadPoolExecutor(1, "icehouse-deal")
    try:
        for steps in _one_ahead(run.start(users, dealer)):
            run.finish(steps)
    except IcehouseError as exc:
        if run.created:
            # The answer to the last commit may be what was lost, so there may be more.
            exc.args = (f"{exc}; at least {run.created:,} users of this run were made before, and stay",)
        raise
    finally:
        dealer.shutdown(cancel_futures=True)
    if run.existing:
        vault.store.database.confirm()  # who made those may not have been answered (ADR 0039)
    return BulkResult(run.created, run.existing)


class _Run:
    """One bulk creation under way, and its counts."""

    def __init__(self, vault: Vault, suite: str) -> None:
        self.vault = vault
        self.suite = suite
        self.created = 0
        self.existing = 0
        self._users_own = vault.custody.users_own
        self._most_together = vault.custody.pages_together
        self._numbers = _allocated(vault)
        self._together = 1
        """How many pages the next transaction has: one at first, so that it is written while the second is dealt."""
        self._all_new = False
        """Whether nobody of the last page had a key: the next one is not looked up, the database refuses it as well."""

    def start(self, users: Iterable[str], dealer: ThreadPoolExecutor) -> Iterator[list[_Step]]:
        """Pages that share a transaction; what there is of them also where the next page cannot be had."""
        steps: list[_Step] = []
        try:
            for page in self._missing(users):
                steps.append(self._begun(page, dealer))
                if (cut := steps[-1].cut) is not None:
                    raise cut  # noqa: TRY301  what there is of the page is written first
                if len(steps) >= self._together:
                    yield steps
                    steps = []
                    self._together = min(2 * self._together, self._most_together)
        except Exception:
            if steps:
                yield steps
            raise
        if steps:
            yield steps

    def _begun(self, page: Sequence[str], dealer: ThreadPoolExecutor) -> _Step:
        """Ask the HSM for what a page needs, and have it dealt."""
        try:
            dealing = prepare(self.vault, page, self.suite, self._numbers)
        except (ConflictError, HsmRefusedError):
            # Another process made some of them, or the root keys that this one knew are gone.
            return _Step(page, None)
        return _Step(dealing.users, dealer.submit(deal, self.vault, dealing), dealing.cut)

    def finish(self, steps: list[_Step]) -> None:
        """Write pages, and let go of them. What went wrong with one is raised when those before it are written."""
        dealt: list[Dealt] = []
        failed: Exception | None = None
        for users, dealing, _ in steps:
            if dealing is None:
                self._write(dealt)
                dealt = []
                self._again(users)
                continue
            try:
                dealt.append(dealing.result())
            except Exception as exc:  # noqa: BLE001  it is raised below
                failed = exc
                break
        self._write(dealt)
        steps.clear()
        if failed is not None:
            raise failed

    def _write(self, pages: Sequence[Dealt]) -> None:
        """Write pages, all at once. Where another writer came first, each on its own."""
        if not pages:
            return
        try:
            write(self.vault, pages)
        except (ConflictError, DataKeyFullError):
            self._all_new = False
            self._together = 1
            if len(pages) > 1:
                for page in pages:
                    self._write([page])
            else:
                self._again(pages[0].dealing.users)
        else:
            self.created += sum(len(page.dealing.users) for page in pages)

    def _again(self, users: Sequence[str]) -> None:
        """Look a page up and make it, for as long as other writers make some of it meanwhile."""
        before, missing = self.created, len(users) + 1
        while True:
            try:
                made = retry(self.vault, lambda: create_page(self.vault, users, self.suite, self._recreated))
                break
            except OvertakenError:
                left = len(without_key(self.vault, users, self.suite, self._recreated))
                if left >= missing:
                    raise
                missing = left
        self.created += made
        self.existing += len(users) - (self.created - before)

    def _recreated(self) -> None:
        self.created += 1

    def _missing(self, users: Iterable[str]) -> Iterator[list[str]]:
        """Full pages of users who have no key, whatever lies between them; the last may be short."""
        missing: dict[str, None] = {}
        for asked, page in _pages(users):
            created, before = self.created, len(missing)
            fresh = page if self._all_new else self._looked_up(page)
            recreated = self.created - created
            self._all_new = len(fresh) == len(page) and not self._users_own
            missing.update(dict.fromkeys(fresh))
            self.existing += asked - recreated - (len(missing) - before)
            while len(missing) >= RECORDS_PER_DATA_KEY:
                yield _take(missing)
        if missing:
            yield list(missing)

    def _looked_up(self, page: Sequence[str]) -> list[str]:
        return retry(self.vault, lambda: without_key(self.vault, page, self.suite, self._recreated))


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
