"""`icehouse campaign`: one verb applied to many keys."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.campaigns import schedule
from icehouse.campaigns.control import Campaigns
from icehouse.campaigns.verbs import VERBS
from icehouse.cli.campaign_report import facts_of_campaign, put_report
from icehouse.cli.destroy import confirm
from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.periods import day_of, period
from icehouse.cli.printer import FAILED, Format, put_facts, put_rows, say
from icehouse.cli.progress import advancing
from icehouse.service import FrostService
from icehouse.store.campaigns import CampaignState
from icehouse.store.selection import Filters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icehouse.store.campaigns import Campaign

app = typer.Typer(help="Apply one verb to many keys, resumable wherever it is killed.", no_args_is_help=False)
_COLUMNS = ("campaign", "verb", "state", "matched", "done", "skipped", "failed", "started", "ended")
_GOES_ON = "campaign {} goes on with 'icehouse worker', from the page where it stopped"
_NumberArgument = Annotated[int, typer.Argument(metavar="N", help="The campaign, as 'campaign list' numbers it.")]


@app.command("start")
def start(  # noqa: PLR0913  one for each filter
    verb: Annotated[str, typer.Argument(metavar="VERB", help=f"One of {', '.join(VERBS)}.")],
    *,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="PERIOD", help="Keys unchanged for so long, such as 90d.")
    ] = None,
    epoch: Annotated[int | None, typer.Option("--epoch", metavar="N", help="Keys at this epoch.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", metavar="SUITE", help="Keys of this suite.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="Keys that are dealt, live, suspended or lost.")
    ] = None,
    data_key: Annotated[
        list[int] | None, typer.Option("--data-key", metavar="N", help="Records under this data key; may be repeated.")
    ] = None,
    root_key: Annotated[
        list[str] | None, typer.Option("--root-key", metavar="LABEL", help="The same for a root key.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Records under root keys at this provider.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="DATE", help="rotate: spread over the days until then; else due now.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="HSM operations a second, of all workers together.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, max=64, help="How many pages at once.")] = 4,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only write it down: 'icehouse worker' does the work.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="destroy: do not ask.")] = False,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Start a campaign and work on it here; interrupted, any worker goes on. Exit code 2 where a key failed."""
    with FrostService.open(named(vault)) as service:
        office = Campaigns(service.vault)
        filters = Filters(
            unchanged_since=None if older_than is None else int(time.time()) - period("--older-than", older_than),
            epoch=epoch,
            suite=suite,
            state=state,
            data_keys=tuple(sorted(set(data_key or ()))),
            root_keys=(*(root_key or ()), *(office.roots_at(provider) if provider else ())),
            due_by=None if by is None else day_of("--by", by),
        )
        if verb == "destroy" and not yes:
            confirm("Destroy the keys of every user who matches, for ever?")
        campaign = office.start(verb, filters, rate=rate)
        say(f"campaign {campaign.id}: {verb}, {campaign.matched} matched")
        if verb == "destroy" and service.vault.custody.users_own:
            say("hint: afterwards 'icehouse users destroy USER' destroys a user's own keys inside the HSM")
        if detach:
            put_facts({"campaign": campaign.id, "matched": campaign.matched}, form)
            say("hint: 'icehouse worker' works on it, on any machine that opens this vault")
            return
        _work(office, campaign, threads, form)


def _work(office: Campaigns, campaign: Campaign, threads: int, form: Format) -> None:
    with advancing(f"campaign of {campaign.verb}", campaign.matched) as advance, stopping() as stop:
        try:
            state = office.run(campaign.id, threads, stop, advance)
        except BaseException:
            say(_GOES_ON.format(campaign.id))
            raise
    report = office.report(campaign.id)
    put_report(report, form)
    if state is CampaignState.RUNNING:
        say(_GOES_ON.format(campaign.id))
    if report.progress.failed:
        say(f"hint: 'icehouse campaign status {campaign.id} --findings' says what failed")
    if state is CampaignState.FAILED:
        say(f"campaign {campaign.id} came to its end: it holds what icehouse never writes")
    if state in {CampaignState.RUNNING, CampaignState.FAILED} or report.progress.failed:
        raise typer.Exit(FAILED)


@contextmanager
def stopping() -> Iterator[Event]:
    """An event that SIGTERM sets, for work to end at the end of its page; Ctrl-C still interrupts at once."""
    stop = Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


@app.command("list")
def list_(*, vault: VaultOption = None, form: FormatOption = Format.TABLE) -> None:
    """List campaigns, the newest first."""
    with FrostService.open(named(vault)) as service:
        office = Campaigns(service.vault)
        put_rows(_COLUMNS, (facts_of_campaign(office.report(found.id)) for found in office.all()), form)


@app.command("status")
def status(
    number: _NumberArgument,
    *,
    findings: Annotated[bool, typer.Option("--findings", help="List what failed, key by key, instead.")] = False,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show what became of a campaign's keys, what the HSM was asked for, and what that costs."""
    with FrostService.open(named(vault)) as service:
        office = Campaigns(service.vault)
        report = office.report(number)
        if findings:
            rows = [
                {"reason": reason, "whose": whose, "words": words} for whose, reason, words in office.findings(number)
            ]
            put_rows(("reason", "whose", "words"), rows, form)
            return
        put_report(report, form)


def _moved(number: int, vault: VaultOption, form: Format, move: Callable[[Campaigns, int], Campaign]) -> None:
    with FrostService.open(named(vault)) as service:
        office = Campaigns(service.vault)
        move(office, number)
        put_report(office.report(number), form)


@app.command("pause")
def pause(number: _NumberArgument, *, vault: VaultOption = None, form: FormatOption = Format.TABLE) -> None:
    """Let no further page be begun; those begun come to their end."""
    _moved(number, vault, form, Campaigns.pause)


@app.command("resume")
def resume(number: _NumberArgument, *, vault: VaultOption = None, form: FormatOption = Format.TABLE) -> None:
    """Go on with a campaign that was paused; workers do it."""
    _moved(number, vault, form, Campaigns.resume)


@app.command("cancel")
def cancel(number: _NumberArgument, *, vault: VaultOption = None, form: FormatOption = Format.TABLE) -> None:
    """End a campaign where it stands; what is done stays done."""
    _moved(number, vault, form, Campaigns.cancel)


@app.command("due")
def due(*, vault: VaultOption = None, form: FormatOption = Format.TABLE) -> None:
    """Apply the vault's policy of rotation: start the campaigns that it asks for now, and do them."""
    with FrostService.open(named(vault)) as service:
        office = Campaigns(service.vault)
        started = schedule.apply(service.vault, office)
        with stopping() as stop:
            for campaign in started:
                office.run(campaign.id, 1, stop)
        put_rows(_COLUMNS, [facts_of_campaign(office.report(found.id)) for found in started], form)
