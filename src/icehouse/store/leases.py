"""Pages are leased, and a page's token fences off whoever held it before.

Time decides one thing only: when a page whose holder gave no sign of life may be taken over. Nothing is believed of
the former holder: every transaction of its thread begins with the token, and fails.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, exists, func, insert, or_, select, update

from icehouse.errors import IcehouseError, SealError
from icehouse.store import migrate
from icehouse.store.campaigns import Campaign, CampaignState, fail, reason_of
from icehouse.store.foreign import LAST_SECOND, MOST, moment, whole, words
from icehouse.store.schema import campaigns, findings, pages
from icehouse.store.selection import Filters

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from icehouse.store.engine import Database


_logger = logging.getLogger("icehouse")
_LONGEST_SKEW = 3600
"""Seconds by which another machine's clock may be ahead, and for which a page is left alone at most."""
_MOST = {
    "number": (1 << 31) - 1,
    "first": MOST,
    "last": MOST,
    "matched": (1 << 31) - 1,
    "token": MOST,
    "attempts": (1 << 31) - 2,
    "operations": MOST >> 1,
    "beat": LAST_SECOND,
    "not_before": LAST_SECOND,
}
"""The largest number in each column of a page."""


class SupersededError(IcehouseError):
    """Another worker took this page over, or the campaign was cancelled; this worker writes nothing more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a page, for as long as the page's token is this one."""

    campaign: Campaign
    filters: Filters
    number: int
    first: int
    last: int
    matched: int
    token: int
    attempts: int
    operations: int
    """What former holders asked of HSMs."""

    @property
    def _row(self) -> Any:  # noqa: ANN401  an expression of SQLAlchemy's
        return (
            (pages.c.campaign == self.campaign.id)
            & (pages.c.number == self.number)
            & (pages.c.token == self.token)
            & (pages.c.state == "leased")
        )

    def note(self, connection: Connection, work: int, operations: int) -> None:
        """Raise `SupersededError` unless this is still the lease; count, and give a sign of life."""
        noted = connection.execute(
            update(pages)
            .where(self._row)
            .values(beat=int(time()), done=pages.c.done + work, operations=self.operations + operations)
        )
        if noted.rowcount != 1:
            raise SupersededError

    def count(self, connection: Connection, work: int) -> None:
        """Count work that became known only now, in the transaction that does it."""
        connection.execute(update(pages).where(self._row).values(done=pages.c.done + work))

    def finish(self, connection: Connection) -> None:
        """The page is done; with the last page, the campaign."""
        failed = (
            select(func.count())
            .select_from(findings)
            .where(findings.c.campaign == self.campaign.id, findings.c.subject.between(self.first, self.last))
            .scalar_subquery()
        )
        # Keys may have come to match since the pages were counted.
        left = pages.c.matched - pages.c.done - failed
        finished = connection.execute(
            update(pages).where(self._row).values(state="done", failed=failed, skipped=case((left > 0, left), else_=0))
        )
        if finished.rowcount != 1:
            raise SupersededError
        _close(connection, self.campaign.id)

    def give_back(self, delay: float, connection: Connection) -> None:
        """Let others try the page again, after a while."""
        connection.execute(
            update(pages)
            .where(self._row)
            .values(state="open", attempts=pages.c.attempts + 1, not_before=int(time() + delay))
        )

    def find(self, connection: Connection, subject: int, whose: str, error: IcehouseError) -> None:
        """Write down what the campaign could not do; once, however often the page is worked on."""
        known = select(findings.c.subject).where(findings.c.campaign == self.campaign.id, findings.c.subject == subject)
        if connection.execute(known).first() is None:
            row = {"whose": whose, "reason": reason_of(error), "words": str(error)}
            connection.execute(insert(findings).values(campaign=self.campaign.id, subject=subject, **row))


def _close(connection: Connection, campaign: int) -> None:
    # The campaign's row is written first: of two pages that end at once, the second sees that the first is done.
    this = campaigns.c.id == campaign
    connection.execute(update(campaigns).where(this).values(verb=campaigns.c.verb))
    unfinished = exists().where(pages.c.campaign == campaign, pages.c.state.in_(("open", "leased")))
    connection.execute(
        update(campaigns)
        .where(this, campaigns.c.under_way.is_not(None), ~unfinished)
        .values(state=CampaignState.DONE, under_way=None, ended=int(time()))
    )


def lease(database: Database, worker: str, patience: int, campaign: int | None = None) -> Lease | None:
    """Take a page that is open, or whose holder gave no sign of life for `patience` seconds; None where there is none.

    A campaign whose row, or whose next page, holds what icehouse never writes is ended: it fails, by name.
    Raises `StoreError` where the database is at another schema than this worker knows.
    """
    now = int(time())
    # A sign of life from the future is none, and nobody is told to wait that long.
    silent = or_(pages.c.beat < now - patience, pages.c.beat > now + max(patience, _LONGEST_SKEW))
    free = or_(pages.c.state == "open", (pages.c.state == "leased") & silent)
    ready = or_(pages.c.not_before <= now, pages.c.not_before > now + _LONGEST_SKEW)
    wanted = (
        select(pages, campaigns.c.verb, campaigns.c.terms, campaigns.c.started)
        .select_from(pages.join(campaigns, campaigns.c.id == pages.c.campaign))
        .where(campaigns.c.state == CampaignState.RUNNING, free, ready)
        .order_by(pages.c.campaign, pages.c.number)
        .limit(1)
        .with_for_update(skip_locked=True, of=pages)
    )
    if campaign is not None:
        wanted = wanted.where(campaigns.c.id == campaign)

    def take(connection: Connection) -> Lease | SealError | None:
        migrate.check(connection)
        row = connection.execute(wanted).first()
        if row is None:
            return None
        try:
            lease = _lease_of(row)
        except SealError as exc:
            fail(connection, row.campaign, exc)
            return exc
        taken = connection.execute(
            update(pages)
            .where(pages.c.campaign == row.campaign, pages.c.number == row.number, pages.c.token == row.token)
            .values(state="leased", token=lease.token, worker=worker, beat=now)
        )
        return lease if taken.rowcount == 1 else None

    # Each round that fails a campaign leaves one less.
    while isinstance(taken := database.change(take), SealError):
        _logger.error("a campaign failed: %s", taken)
    return taken


def _lease_of(row: Row[Any]) -> Lease:
    """The lease that taking this page gives; raises `SealError` for a value that icehouse never writes."""
    name = f"page {row.number} of campaign {row.campaign}" if type(row.number) is int else "a page without a number"
    numbers = [whole(f"{name}: {column}", getattr(row, column), _MOST[column]) for column in _MOST]
    number, first, last, matched, token, attempts, operations, _, _ = numbers
    verb, terms = words(f"the verb of campaign {row.campaign}", row.verb), words(f"{name}: terms", row.terms)
    started = moment(f"the start of campaign {row.campaign}", row.started)
    campaign = Campaign(row.campaign, verb, CampaignState.RUNNING, 0, started, None)
    return Lease(campaign, Filters.parse(terms), number, first, last, matched, token + 1, attempts, operations)


def fail_stuck(database: Database) -> None:
    """End campaigns that run and have no page left to work on: workers would wait for them for ever."""

    def work(connection: Connection) -> None:
        unfinished = exists().where(pages.c.campaign == campaigns.c.id, pages.c.state.in_(("open", "leased")))
        stuck = select(campaigns.c.id).where(campaigns.c.state == CampaignState.RUNNING, ~unfinished)
        for number in connection.execute(stuck.with_for_update()).scalars().all():
            msg = f"campaign {number} runs and has no page left to work on: its rows were changed"
            _logger.error("a campaign failed: %s", msg)
            fail(connection, number, SealError(msg))

    database.change(work)


def waiting(database: Database, patience: int) -> list[tuple[int, int]]:
    """Campaigns that have pages nobody works on, and how many."""
    now = int(time())
    stalled = (pages.c.state == "leased") & (pages.c.beat < now - patience)
    wanted = (
        select(pages.c.campaign, func.count())
        .select_from(pages.join(campaigns, campaigns.c.id == pages.c.campaign))
        .where(campaigns.c.state == CampaignState.RUNNING, or_(pages.c.state == "open", stalled))
        .group_by(pages.c.campaign)
    )
    with database.read() as connection:
        return [(int(row[0]), int(row[1])) for row in connection.execute(wanted)]
