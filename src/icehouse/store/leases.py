"""Pages are leased, and a page's token fences off whoever held it before.

Time decides one thing only: when a page whose holder gave no sign of life may be taken over. Nothing is believed of
the former holder: every transaction of its thread begins with the token, and fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, exists, func, insert, or_, select, update

from icehouse.errors import IcehouseError
from icehouse.store import migrate
from icehouse.store.campaigns import Campaign, CampaignState
from icehouse.store.schema import campaigns, findings, pages
from icehouse.store.selection import Filters

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from icehouse.store.engine import Database


class SupersededError(IcehouseError):
    """Another worker took this page over, or the campaign was cancelled; this worker writes nothing more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a page, for as long as the page's token is this one."""

    campaign: Campaign
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
            row = {"whose": whose, "reason": _reason(error), "words": str(error)}
            connection.execute(insert(findings).values(campaign=self.campaign.id, subject=subject, **row))


def _reason(error: IcehouseError) -> str:
    """The class that the error's documentation lists."""
    listed = (kind for kind in type(error).__mro__ if kind.__module__ == IcehouseError.__module__)
    return next(listed).__name__


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

    Raises `StoreError` where the database is at another schema than this worker knows.
    """
    now = int(time())
    free = or_(pages.c.state == "open", (pages.c.state == "leased") & (pages.c.beat < now - patience))
    wanted = (
        select(pages, campaigns.c.verb, campaigns.c.terms, campaigns.c.started)
        .select_from(pages.join(campaigns, campaigns.c.id == pages.c.campaign))
        .where(campaigns.c.state == CampaignState.RUNNING, free, pages.c.not_before <= now)
        .order_by(pages.c.campaign, pages.c.number)
        .limit(1)
        .with_for_update(skip_locked=True, of=pages)
    )
    if campaign is not None:
        wanted = wanted.where(campaigns.c.id == campaign)

    def take(connection: Connection) -> Row[Any] | None:
        migrate.check(connection)
        row = connection.execute(wanted).first()
        if row is None:
            return None
        taken = connection.execute(
            update(pages)
            .where(pages.c.campaign == row.campaign, pages.c.number == row.number, pages.c.token == row.token)
            .values(state="leased", token=row.token + 1, worker=worker, beat=now)
        )
        return row if taken.rowcount == 1 else None

    row = database.change(take)
    if row is None:
        return None
    filters = Filters.parse(row.terms)
    whole = Campaign(row.campaign, row.verb, filters, CampaignState.RUNNING, 0, row.started, None)
    numbers = (row.number, row.first, row.last, row.matched)
    return Lease(whole, *numbers, row.token + 1, row.attempts, row.operations)


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
