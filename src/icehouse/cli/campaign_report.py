"""What the command line says of a campaign."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icehouse.cli.printer import Format, put_facts, put_rows

if TYPE_CHECKING:
    from icehouse.campaigns.control import Report

_QUOTED = ("usd", "provider")


def facts_of_campaign(report: Report) -> dict[str, object]:
    """The numbers of a campaign."""
    campaign, progress = report.campaign, report.progress
    return {
        "campaign": campaign.id,
        "verb": campaign.verb,
        "state": campaign.state,
        "matched": campaign.matched,
        "done": progress.done,
        "skipped": progress.skipped,
        "failed": progress.failed,
        "pages": progress.pages,
        "pages_done": progress.pages_done,
        "hsm_operations": progress.operations,
        "started": iso(campaign.started),
        "ended": iso(campaign.ended),
    }


def put_report(report: Report, form: Format) -> None:
    """All of it: the numbers, the reasons of failures, and what the operations cost at each provider."""
    facts = facts_of_campaign(report)
    rows = [{"provider": quote.provider, "usd": round(float(quote.operations), 6)} for quote in report.quotes]
    if form is Format.JSON:
        put_facts(facts | {"reasons": report.reasons, "providers": rows}, form)
        return
    put_facts(facts | {"reasons": [f"{count} {name}" for name, count in report.reasons.items()]}, form)
    put_rows(_QUOTED, rows, form)


def iso(seconds: int | None) -> str | None:
    """A moment as people and programs read it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
