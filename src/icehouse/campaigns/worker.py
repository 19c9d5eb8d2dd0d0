"""A worker: takes pages until there are none, and gives back what the HSM or the database kept it from doing."""

from __future__ import annotations

import logging
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock, get_ident
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

from icehouse.campaigns.meter import Meter
from icehouse.campaigns.verbs import VERBS, Page, end
from icehouse.errors import HsmError, IcehouseError, SealError, StoreError
from icehouse.store import campaigns, leases
from icehouse.store.leases import SupersededError
from icehouse.store.rates import RateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from icehouse.store.leases import Lease
    from icehouse.vault.vault import Vault

_logger = logging.getLogger("icehouse")
PATIENCE = 60
"""Seconds without a sign of life after which a page may be taken over."""
_GIVES_UP_AFTER = 5
_FIRST_DELAY = 0.25
_LONGEST_DELAY = 30.0
_LOOKS_EVERY = 0.5


@dataclass(slots=True)
class Tally:
    """What one worker did."""

    pages: int = 0
    superseded: int = 0
    given_back: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.pages + other.pages, self.superseded + other.superseded, self.given_back + other.given_back)


@dataclass
class WorkerPool:
    """The workers of one process: so many threads over one vault. `stop` ends each at its page's end.

    With `wait` they go on waiting for campaigns; else they end when none is running. `campaign` binds them to one.
    """

    vault: Vault
    threads: int = 4
    wait: bool = False
    campaign: int | None = None
    patience: int = PATIENCE
    stop: Event = field(default_factory=Event)
    advance: Callable[[int], None] = lambda _: None
    _lock: Lock = field(default_factory=Lock)
    idle: Callable[[], object] = lambda: None
    """Called now and then by a thread that waits."""
    tally: Tally = field(default_factory=Tally)
    """What `step` did so far."""
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}")

    def run(self) -> Tally:
        """Work until there is nothing to do. The first error of a thread ends all, at their pages' ends."""
        meter = Meter.over(self.vault.custody.roots, self.vault.store.database)
        with ThreadPoolExecutor(self.threads, "icehouse-worker") as pool:
            try:
                with _uninterrupted():
                    futures = [pool.submit(self._one, meter, number) for number in range(1, self.threads + 1)]
                return sum((future.result() for future in futures), Tally())
            finally:
                self.stop.set()

    def step(self, campaign: int) -> None:
        """Do one page of a campaign, in a thread of somebody else's; raises what made it give the page back."""
        meter = Meter.over(self.vault.custody.roots, self.vault.store.database)
        worker = Worker(self, meter, f"{self.name}-{get_ident()}", patient=False)
        try:
            worker.step(campaign)
        finally:
            with self._lock:
                self.tally += worker.tally

    def _one(self, meter: Meter, number: int) -> Tally:
        try:
            return Worker(self, meter, f"{self.name}-{number}").run()
        except BaseException:
            self.stop.set()
            raise


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait: the pool would not know of a thread that is being started, and not wait for its page's end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work_of(lease: Lease) -> Callable[[Page], None]:
    work = VERBS.get(lease.campaign.verb)
    if work is None:
        msg = f"campaign {lease.campaign.id} is of a verb that icehouse does not know"
        raise SealError(msg)
    return work


class Worker:
    """One thread of a crew."""

    def __init__(self, crew: WorkerPool, meter: Meter, name: str, *, patient: bool = True) -> None:
        self._crew = crew
        self._meter = meter
        self._name = name
        self._database = crew.vault.store.database
        self.tally = Tally()
        self._failures = 0 if patient else _GIVES_UP_AFTER
        """One that is not patient gives up at the first failure: whoever called it tries again."""

    def step(self, campaign: int) -> None:
        """Do one page, if there is one to be had."""
        lease = leases.lease(self._database, self._name, self._crew.patience, campaign)
        if lease is not None:
            self._work_on(lease)

    def run(self) -> Tally:
        """Take one page after the other."""
        crew = self._crew
        while not crew.stop.is_set():
            try:
                lease = leases.lease(self._database, self._name, crew.patience, crew.campaign)
                if lease is not None:
                    self._work_on(lease)
                elif crew.wait or campaigns.is_running(self._database, crew.campaign):
                    leases.fail_stuck(self._database)
                    crew.idle()
                    crew.stop.wait(_LOOKS_EVERY)
                else:
                    return self.tally
            except (SealError, StoreError) as exc:
                self._failed(exc)
        return self.tally

    def _work_on(self, lease: Lease) -> None:
        start, seen = self._meter.spent, monotonic()

        def fence(connection: Connection, work: int) -> None:
            lease.note(connection, work, self._meter.spent - start)

        def alive() -> None:
            nonlocal seen
            if monotonic() - seen > self._crew.patience / 8:
                seen = monotonic()
                self._database.change(lambda _: None)  # the fence gives the sign of life

        page = Page(self._crew.vault, lease, alive, [])
        try:
            with self._database.fenced(fence):
                _work_of(lease)(page)
                self._database.change(partial(end, page))
        except SupersededError:
            self.tally.superseded += 1
            _logger.warning("page %d of campaign %d was taken over", lease.number, lease.campaign.id)
            return
        except (HsmError, StoreError) as exc:
            if isinstance(exc, RateError):
                self._fail(lease, exc)
            else:
                self._give_back(lease, exc)
            return
        except IcehouseError as exc:
            self._fail(lease, exc)
            return
        self.tally.pages += 1
        self._failures = 0
        self._crew.advance(lease.matched)

    def _fail(self, lease: Lease, exc: IcehouseError) -> None:
        """End the campaign: what was met is no key's and would be met by everybody. This worker goes on with others."""
        _logger.error("campaign %d failed: %s", lease.campaign.id, exc)
        try:
            self._database.change(partial(campaigns.fail, number=lease.campaign.id, error=exc))
        except (SealError, StoreError):
            # Not even that can be written: to try again would be to wait for this very page.
            self._failures = _GIVES_UP_AFTER
            raise

    def _give_back(self, lease: Lease, exc: HsmError | StoreError) -> None:
        """Whoever comes next goes on where this worker stopped."""
        self.tally.given_back += 1
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(lease.attempts, _GIVES_UP_AFTER + 2))
        with suppress(StoreError):  # where nobody can be told, the page is taken over when it shows no life
            self._database.change(partial(lease.give_back, delay))
        self._failed(exc)

    def _failed(self, exc: HsmError | SealError | StoreError) -> None:
        self._failures += 1
        if self._failures >= _GIVES_UP_AFTER:
            raise exc
        _logger.warning("trying again: %s", exc)
        self._crew.stop.wait(min(_LONGEST_DELAY, _FIRST_DELAY * 2**self._failures))
