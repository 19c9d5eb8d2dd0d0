"""Campaigns as rows: pages are leased, and a page's token fences off whoever held it before.

Time decides one thing only: when a page whose holder gave no sign of life may be taken over. Nothing is believed of
the former holder: every transaction of its thread begins with the token, and fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import case, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from icehouse.errors import ConflictError, IcehouseError, RequestError
from icehouse.store import migrate
from icehouse.store.schema import campaigns, findings, pages
from icehouse.store.selection import Filters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from icehouse.store.engine import Database
    from icehouse.store.selection import Range


class CampaignState(StrEnum):
    """Where a campaign stands."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"


class SupersededError(IcehouseError):
    """Another worker took this page over, or the campaign was cancelled; this worker writes nothing more."""


class NothingMatchesError(RequestError):
    """No key matches the filters of a campaign that was to be started."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """One verb applied to many keys. Times are seconds since 1970."""

    id: int
    verb: str
    filters: Filters
    state: CampaignState
    matched: int
    started: int
    ended: int | None


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
    unfinished = exists().where(pages.c.campaign == campaign, pages.c.state != "done")
    connection.execute(
        update(campaigns)
        .where(this, campaigns.c.under_way.is_not(None), ~unfinished)
        .values(state=CampaignState.DONE, under_way=None, ended=int(time()))
    )


def register(database: Database, verb: str, filters: Filters, ranges: Sequence[Range]) -> Campaign:
    """Write a campaign and its pages. Raises `ConflictError` while another of the same verb is under way."""
    now = int(time())
    matched = sum(page.matched for page in ranges)

    def work(connection: Connection) -> int:
        number = int(connection.execute(select(func.max(campaigns.c.id))).scalar() or 0) + 1
        row = {"id": number, "verb": verb, "terms": filters.to_json(), "under_way": verb}
        connection.execute(insert(campaigns).values(**row, state=CampaignState.RUNNING, matched=matched, started=now))
        connection.execute(insert(pages), [_page_row(number, at, page) for at, page in enumerate(ranges, 1)])
        return number

    try:
        number = database.change(work)
    except IntegrityError as exc:
        raise_under_way(verb, exc)
    return Campaign(number, verb, filters, CampaignState.RUNNING, matched, now, None)


def raise_under_way(verb: str, cause: Exception | None = None) -> None:
    """Refuse a second campaign of a verb."""
    msg = f"a campaign of {verb} is under way already, and there is one of each verb"
    raise ConflictError(msg, hint="'icehouse campaign list' shows it; wait for it, or cancel it") from cause


def _page_row(campaign: int, number: int, page: Range) -> dict[str, object]:
    zeros = dict.fromkeys(("token", "beat", "not_before", "attempts", "done", "skipped", "failed", "operations"), 0)
    return {"campaign": campaign, "number": number, **page._asdict(), "state": "open", "worker": "", **zeros}


def all_campaigns(database: Database) -> list[Campaign]:
    """Every campaign there ever was, the newest first."""
    with database.read() as connection:
        return [_campaign_of(row) for row in connection.execute(select(campaigns).order_by(campaigns.c.id.desc()))]


def campaign_of(database: Database, number: int) -> Campaign:
    """A campaign by its number; raises `RequestError`."""
    with database.read() as connection:
        row = connection.execute(select(campaigns).where(campaigns.c.id == number)).first()
    if row is None:
        msg = f"there is no campaign {number}"
        raise RequestError(msg, hint="'icehouse campaign list' shows those there are")
    return _campaign_of(row)


def _campaign_of(row: Row[Any]) -> Campaign:
    filters, state = Filters.parse(row.terms), CampaignState(row.state)
    return Campaign(row.id, row.verb, filters, state, row.matched, row.started, row.ended)


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


def is_running(database: Database, campaign: int | None = None) -> bool:
    """Whether a campaign, or any, has pages to be worked on."""
    wanted = select(campaigns.c.id).where(campaigns.c.state == CampaignState.RUNNING).limit(1)
    if campaign is not None:
        wanted = wanted.where(campaigns.c.id == campaign)
    with database.read() as connection:
        return connection.execute(wanted).first() is not None


def pause(database: Database, number: int) -> Campaign:
    """Let no page be begun; those begun come to their end."""
    return _move(database, number, CampaignState.PAUSED, CampaignState.RUNNING)


def resume(database: Database, number: int) -> Campaign:
    """Go on with a campaign that was paused."""
    return _move(database, number, CampaignState.RUNNING, CampaignState.PAUSED)


def cancel(database: Database, number: int) -> Campaign:
    """End a campaign where it stands: workers write nothing from the moment this returns."""

    def fence_off(connection: Connection) -> None:
        connection.execute(
            update(pages)
            .where(pages.c.campaign == number, pages.c.state != "done")
            .values(state="cancelled", token=pages.c.token + 1)
        )

    states = (CampaignState.RUNNING, CampaignState.PAUSED)
    ended = {"under_way": None, "ended": int(time())}
    return _move(database, number, CampaignState.CANCELLED, *states, also=fence_off, values=ended)


def _move(
    database: Database,
    number: int,
    after: CampaignState,
    *before: CampaignState,
    also: Callable[[Connection], None] = lambda _: None,
    values: Mapping[str, object] | None = None,
) -> Campaign:
    found = campaign_of(database, number)
    if found.state is after:
        return found

    def work(connection: Connection) -> bool:
        moved = connection.execute(
            update(campaigns)
            .where(campaigns.c.id == number, campaigns.c.state.in_(before))
            .values(state=after, **(values or {}))
        )
        if moved.rowcount == 1:
            also(connection)
        return moved.rowcount == 1

    if database.change(work):
        return replace(found, state=after)
    msg = f"campaign {number} is {campaign_of(database, number).state}, so it cannot become {after}"
    raise ConflictError(msg)


class Progress(NamedTuple):
    """What became of a campaign's keys so far, and what HSMs were asked for it."""

    pages: int
    pages_done: int
    done: int
    skipped: int
    failed: int
    operations: int


def progress(database: Database, number: int) -> Progress:
    """The sums over a campaign's pages."""
    finished = func.sum(case((pages.c.state == "done", 1), else_=0))
    sums = [func.coalesce(func.sum(pages.c[name]), 0) for name in ("done", "skipped", "operations")]
    failed = select(func.count()).select_from(findings).where(findings.c.campaign == number)
    with database.read() as connection:
        done = connection.execute(
            select(func.count(), func.coalesce(finished, 0), *sums).where(pages.c.campaign == number)
        ).one()
        failures = connection.execute(failed).scalar_one()
    return Progress(done[0], int(done[1]), int(done[2]), int(done[3]), failures, int(done[4]))


def reasons(database: Database, number: int) -> dict[str, int]:
    """How many keys a campaign failed on, by reason."""
    with database.read() as connection:
        found = connection.execute(
            select(findings.c.reason, func.count())
            .where(findings.c.campaign == number)
            .group_by(findings.c.reason)
            .order_by(findings.c.reason)
        ).all()
    return {str(row[0]): int(row[1]) for row in found}


def found_by(database: Database, number: int) -> list[tuple[str, str, str]]:
    """What a campaign failed on: whose key it is, the reason, and the words."""
    with database.read() as connection:
        found = connection.execute(
            select(findings.c.whose, findings.c.reason, findings.c.words)
            .where(findings.c.campaign == number)
            .order_by(findings.c.subject)
        ).all()
    return [(row.whose, row.reason, row.words) for row in found]


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
