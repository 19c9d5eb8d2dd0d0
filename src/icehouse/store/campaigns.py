"""Campaigns as rows: what is under way, paused or ended, and what became of its keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import case, func, insert, select, update

from icehouse.errors import ConflictError, IcehouseError, RequestError, SealError
from icehouse.store.engine import RowThereError
from icehouse.store.foreign import LARGEST, moment, not_ours, whole, words
from icehouse.store.schema import campaigns, findings, pages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from icehouse.store.engine import Database
    from icehouse.store.selection import Filters, Range

_ATTEMPTS = 10
_OF_ALL = 0
"""The subject of a finding about the campaign itself: rows and data keys are numbered from 1."""


class CampaignState(StrEnum):
    """Where a campaign stands."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"
    """Ended by a worker that met what nothing can be done with; its finding says what."""


class NothingMatchesError(RequestError):
    """No key matches the filters of a campaign that was to be started."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """One verb applied to many keys. Times are seconds since 1970."""

    id: int
    verb: str
    state: CampaignState
    matched: int
    started: int
    ended: int | None


def register(database: Database, verb: str, filters: Filters, ranges: Sequence[Range]) -> Campaign:
    """Write a campaign and its pages. Raises `ConflictError` while another of the same verb is under way."""
    now = int(time())
    matched = sum(page.matched for page in ranges)
    terms = filters.to_json()
    if len(terms) > LARGEST // 2:
        msg = f"the filters of a campaign must be at most {LARGEST // 2:,} characters long, not {len(terms):,}"
        raise RequestError(msg, hint="name root keys instead of data keys, or start several campaigns in turn")

    def work(connection: Connection) -> int:
        number = int(connection.execute(select(func.max(campaigns.c.id))).scalar() or 0) + 1
        row = {"id": number, "verb": verb, "terms": terms, "under_way": verb}
        connection.execute(insert(campaigns).values(**row, state=CampaignState.RUNNING, matched=matched, started=now))
        connection.execute(insert(pages), [_page_row(number, at, page) for at, page in enumerate(ranges, 1)])
        return number

    for _ in range(_ATTEMPTS):
        try:
            number = database.change(work)
        except RowThereError as exc:
            # Else one of another verb took the number at this very moment.
            if any(other.verb == verb and other.ended is None for other in all_campaigns(database)):
                raise_under_way(verb, exc)
        else:
            return Campaign(number, verb, CampaignState.RUNNING, matched, now, None)
    msg = f"the database says that a campaign of {verb} is under way, and holds none"
    raise SealError(msg, hint="the column under_way of the table campaigns was changed: restore it from a backup")


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
    """What everybody may know of a campaign. Its terms are read by whoever works on it."""
    name = f"campaign {row.id}"
    if row.state not in set(CampaignState):
        not_ours(f"the state of {name}", row.state)
    verb, matched = words(f"the verb of {name}", row.verb), whole(f"what matched in {name}", row.matched)
    started = moment(f"the start of {name}", row.started)
    ended = None if row.ended is None else moment(f"the end of {name}", row.ended)
    return Campaign(row.id, verb, CampaignState(row.state), matched, started, ended)


def fail(connection: Connection, number: int, error: IcehouseError) -> None:
    """End a campaign that nothing can be done with; its finding names what was met. Workers write nothing more."""
    connection.execute(
        update(campaigns)
        .where(campaigns.c.id == number, campaigns.c.state == CampaignState.RUNNING)
        .values(state=CampaignState.FAILED, under_way=None, ended=int(time()))
    )
    _end_pages(connection, number)
    known = select(findings.c.subject).where(findings.c.campaign == number, findings.c.subject == _OF_ALL)
    if connection.execute(known).first() is None:
        row = {"whose": f"campaign {number}", "reason": reason_of(error), "words": str(error)}
        connection.execute(insert(findings).values(campaign=number, subject=_OF_ALL, **row))


def reason_of(error: IcehouseError) -> str:
    """The class that the error's documentation lists."""
    listed = (kind for kind in type(error).__mro__ if kind.__module__ == IcehouseError.__module__)
    return next(listed).__name__


def _end_pages(connection: Connection, number: int) -> None:
    """A page that is not leased is nobody's to write for."""
    unfinished = (pages.c.campaign == number, pages.c.state != "done")
    connection.execute(update(pages).where(*unfinished).values(state="cancelled"))


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
    states = (CampaignState.RUNNING, CampaignState.PAUSED)
    ended = {"under_way": None, "ended": int(time())}
    return _move(
        database,
        number,
        CampaignState.CANCELLED,
        *states,
        also=lambda connection: _end_pages(connection, number),
        values=ended,
    )


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
    counted = [func.coalesce(func.sum(pages.c[name]), 0) for name in ("done", "skipped", "operations")]
    failed = select(func.count()).select_from(findings).where(findings.c.campaign == number)
    with database.read() as connection:
        done = connection.execute(
            select(func.count(), func.coalesce(finished, 0), *counted).where(pages.c.campaign == number)
        ).one()
        failures = connection.execute(failed).scalar_one()
    sums = [_total(number, value) for value in done[1:]]
    return Progress(done[0], sums[0], sums[1], sums[2], failures, sums[3])


def _total(campaign: int, value: object) -> int:
    """A sum over pages; PostgreSQL's has a type of its own."""
    return whole(f"a count of the pages of campaign {campaign}", int(value) if isinstance(value, Decimal) else value)


def reasons(database: Database, number: int) -> dict[str, int]:
    """How many keys a campaign failed on, by reason."""
    with database.read() as connection:
        found = connection.execute(
            select(findings.c.reason, func.count())
            .where(findings.c.campaign == number)
            .group_by(findings.c.reason)
            .order_by(findings.c.reason)
        ).all()
    return {words(f"a reason of campaign {number}", row[0]): int(row[1]) for row in found}


def found_by(database: Database, number: int) -> list[tuple[str, str, str]]:
    """What a campaign failed on: whose key it is, the reason, and the words."""
    with database.read() as connection:
        found = connection.execute(
            select(findings.c.whose, findings.c.reason, findings.c.words)
            .where(findings.c.campaign == number)
            .order_by(findings.c.subject)
        ).all()
    name = f"a finding of campaign {number}"
    return [(words(name, row.whose), words(name, row.reason), words(name, row.words)) for row in found]
