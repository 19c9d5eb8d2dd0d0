"""A plan as data: JSON for programs, CSV for spreadsheets. Money is in dollars, counts are per month."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

    from icehouse.planner.breakeven import Alternative, BreakEven, Sensitivity, Tie
    from icehouse.planner.original import Review
    from icehouse.planner.phases import Phase
    from icehouse.planner.rewrap import Rewrap
    from icehouse.planner.verdict import Plan, Verdict

_PLACES = 6


def number(value: Fraction | None) -> float | int | None:
    """A fraction as JSON has it: whole where it is whole, else to the millionth."""
    if value is None:
        return None
    return int(value) if value == int(value) else round(float(value), _PLACES)


def verdict_data(found: Verdict) -> dict[str, Any]:
    """One choice, whole."""
    return {
        "users": found.scenario.users,
        "provider": found.choice.provider,
        "claim_provider": found.choice.claim_provider or None,
        "custody": str(found.choice.custody),
        "feasible": found.feasible,
        "cost_month": number(found.cost),
        "cost_per_user": float(found.cost_per_user),
        "items": {name: number(value) for name, value in found.items.items()},
        "hsm_keys": found.hsm_keys,
        "operations": {name: number(value) for name, value in found.operations.items()},
        "peak_rate": number(found.peak_rate),
        "exposed_users": found.exposed,
        "making_minutes": None if found.making is None else number(found.making / 60),
        "rewrap": rewrap_data(found.rewrap),
        "limits_exceeded": [
            {
                "provider": need.provider,
                "limit": need.limit.item,
                "value": number(need.limit.value),
                "needed": number(need.wanted.value),
                "unit": need.limit.unit,
                "source": need.limit.source,
                "as_of": need.limit.as_of,
            }
            for need in found.exceeded
        ],
        "obstacles": [
            {"provider": each.provider, "name": each.name, "words": each.words, "source": each.source}
            for each in found.obstacles
        ],
        "notes": list(found.notes),
    }


def rewrap_data(found: Rewrap) -> dict[str, Any]:
    """What a rewrap or a move takes."""
    return {
        "possible": found.possible,
        "operations": found.operations,
        "minutes": number(found.minutes),
        "devices": found.devices,
    }


def plan_data(found: Plan) -> list[dict[str, Any]]:
    """Every choice of a plan."""
    return [verdict_data(each) for each in found.verdicts]


def phase_data(found: Phase) -> dict[str, Any]:
    """One phase."""
    choice = found.choice
    return {
        "provider": choice.provider if choice else None,
        "claim_provider": (choice.claim_provider or None) if choice else None,
        "custody": str(choice.custody) if choice else None,
        "first_month": found.first.number,
        "last_month": found.last.number,
        "first_users": found.first.users,
        "last_users": found.last.users,
        "cost": number(found.cost),
        "switch": None if found.switch is None else rewrap_data(found.switch),
    }


def tie_data(found: Tie | None) -> dict[str, Any] | None:
    """One break-even point."""
    if found is None:
        return None
    return {
        "number": found.number,
        "exact": number(found.exact),
        "cheaper_before": str(found.before) if found.before else None,
        "cheaper_from_there": str(found.cheaper) if found.cheaper else None,
    }


def break_even_data(found: BreakEven, answers: Sequence[Sensitivity], others: Sequence[Alternative]) -> dict[str, Any]:
    """Every break-even point of a pair, and what moves the first."""
    return {
        "one": str(found.one),
        "other": str(found.other),
        "unit": found.unit,
        "searched_up_to": found.last,
        "cheaper_at_first": str(found.start) if found.start else None,
        "points": [tie_data(tie) for tie in found.ties],
        "sensitivity": [
            {
                "provider": each.claim.provider,
                "item": each.claim.item,
                "usd": number(each.claim.value),
                "a_tenth_more_adds": number(each.share),
                "a_tenth_less": tie_data(each.lower),
                "a_tenth_more": tie_data(each.higher),
            }
            for each in answers
        ],
        "other_claims": [
            {
                "provider": each.claim.provider,
                "item": each.claim.item,
                "usd": number(each.claim.value),
                "source": each.claim.source,
                "first_point": tie_data(each.first),
            }
            for each in others
        ],
    }


def review_data(found: Review) -> dict[str, Any]:
    """The original's table, and what does not follow."""
    return {
        "rows": [
            {
                "users": row.users,
                "aws_cloudhsm": number(row.aws_cloudhsm),
                "gcp_kms": number(row.gcp_kms),
                "winner": row.winner,
                "written_winner": row.written.winner if row.written else None,
                "follows": row.follows,
            }
            for row in found.rows
        ],
        "findings": list(found.findings),
    }


def csv_text(rows: Iterable[dict[str, Any]]) -> str:
    """Rows of data as CSV: what is nested becomes columns of its own, joined by dots."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    target = io.StringIO()
    writer = csv.DictWriter(target, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(flat)
    return target.getvalue()


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            found[prefix + name] = "; ".join(_words(each) for each in value)
        else:
            found[prefix + name] = value
    return found


def _words(value: Any) -> str:  # noqa: ANN401  whatever JSON has
    return " ".join(str(each) for each in value.values()) if isinstance(value, dict) else str(value)
