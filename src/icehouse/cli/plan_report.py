"""A plan in words and tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.planner.coefficients import WARNINGS
from icehouse.planner.money import cents, dollars, whole
from icehouse.planner.scenario import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from icehouse.planner import Choice
    from icehouse.planner.breakeven import Alternative, BreakEven, Sensitivity, Tie
    from icehouse.planner.original import Review
    from icehouse.planner.phases import Phase
    from icehouse.planner.rewrap import Rewrap
    from icehouse.planner.verdict import Plan, Verdict

_HEADER = ("choice", "a month", "per user", "HSM keys", "operations", "peak/s", "exposed", "rewrap", "nearest limit")
_RIGHT = frozenset({"a month", "per user", "HSM keys", "operations", "peak/s", "exposed", "AWS CloudHSM"})
_FEWEST = 0.001


def plan_lines(found: Plan, *, every: bool) -> Iterator[str]:
    """One scenario: the choices that can work, and on demand those that cannot, with the limit that binds."""
    scenario = found.scenario
    signatures, rotations = shown(scenario.signatures_per_user_year), shown(scenario.rotations_per_user_year)
    yield f"{whole(scenario.users)} users (a year, each: signatures {signatures}, rotations {rotations})"
    yield ""
    feasible = [verdict for verdict in found.verdicts if verdict.feasible]
    if feasible:
        yield from table(_HEADER, [_row(verdict) for verdict in feasible])
    rest = [verdict for verdict in found.verdicts if not verdict.feasible]
    if rest:
        if feasible:
            yield ""
        choices = "1 choice" if len(rest) == 1 else f"{len(rest)} choices"
        yield f"{choices} cannot work{':' if every else '; --all says why'}"
        if every:
            yield from (f"  {verdict.choice.custody}: {verdict.binding}" for verdict in rest)
    warned = {WARNINGS[verdict.choice.custody] for verdict in feasible if verdict.choice.custody in WARNINGS}
    for note in dict.fromkeys(note for verdict in feasible for note in verdict.notes):
        yield f"* {note}" if note in warned else f"note: {note}"


def _marked(choice: Choice) -> str:
    return f"{choice} *" if choice.custody in WARNINGS else str(choice)


def _row(found: Verdict) -> list[str]:
    nearest = found.nearest
    operations = sum(found.operations.values())
    return [
        _marked(found.choice),
        cents(found.cost),
        dollars(found.cost_per_user),
        whole(found.hsm_keys),
        whole(operations),
        f"{float(found.peak_rate):,.3g}",
        whole(found.exposed),
        rewrap_words(found.rewrap),
        f"{nearest.limit.item} {float(nearest.used):.1%}" if nearest and nearest.used > _FEWEST else "-",
    ]


def rewrap_words(found: Rewrap) -> str:
    """How long a rewrap takes, in words."""
    if not found.possible:
        return "never"
    operations = f"{whole(found.operations)} operations"
    return operations if found.seconds is None else f"{operations}, {_duration(float(found.seconds))}"


def _duration(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.1f} seconds" if seconds >= 1 else "under a second"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as their widest cell; numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    for line in (header, *rows):
        cells = [
            f"{cell:>{width}}" if name in _RIGHT else f"{cell:<{width}}"
            for cell, width, name in zip(line, widths, header, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def break_even_lines(found: BreakEven) -> Iterator[str]:
    """Every point at which two choices change places."""
    unit = "users" if found.unit == "users" else "signatures a month"
    start = f"{found.start} is cheaper" if found.start else "both cost the same"
    yield f"{found.one} against {found.other}, in {unit}: at first {start}"
    for tie in found.ties:
        yield f"  {_tie_words(tie, unit)}"
    if not found.ties:
        yield f"  they never change places up to {whole(found.last)} {unit}"


def _tie_words(tie: Tie, unit: str) -> str:
    if tie.cheaper is None:
        return f"from {whole(tie.number)} {unit}: a tie"
    exact = "" if tie.exact.denominator == 1 else f" (the lines cross at {float(tie.exact):,.2f})"
    return f"from {whole(tie.number)} {unit}: {tie.cheaper} is cheaper{exact}"


def sensitivity_lines(found: Sequence[Sensitivity], others: Sequence[Alternative]) -> Iterator[str]:
    """Where the first break-even point goes with each price."""
    yield "the first break-even point, if one price were a tenth lower or higher:"
    rows = [
        [f"{each.claim.provider} {each.claim.item}", dollars(each.claim.value), _moved(each.lower), _moved(each.higher)]
        for each in found
    ]
    yield from table(("price", "now", "a tenth lower", "a tenth higher"), rows)
    for each in others:
        claim = each.claim
        yield f"if {claim.provider} {claim.item} is {dollars(claim.value)} ({claim.source}): {_moved(each.first)}"


def _moved(tie: Tie | None) -> str:
    return "none" if tie is None else whole(tie.last_before)


def phase_lines(found: Sequence[Phase]) -> Iterator[str]:
    """The phases of a growth curve, and what each switch takes."""
    rows = [
        [
            str(number),
            str(phase.choice) if phase.choice else "nothing can work",
            f"{phase.first.number} - {phase.last.number}",
            f"{whole(phase.first.users)} - {whole(phase.last.users)}",
            _monthly(phase),
            _switch_words(phase.switch),
        ]
        for number, phase in enumerate(found, start=1)
    ]
    yield from table(("phase", "choice", "months", "users", "a month", "to switch"), rows)


def _monthly(phase: Phase) -> str:
    costs = [month.best.cost for month in phase.months if month.best]
    if not costs:
        return "-"
    low, high = min(costs), max(costs)
    return cents(low) if low == high else f"{cents(low)} - {cents(high)}"


def _switch_words(switch: Rewrap | None) -> str:
    if switch is None:
        return "-"
    devices = f", and {whole(switch.devices)} devices take part" if switch.devices else ""
    return rewrap_words(switch) + devices


def review_lines(found: Review) -> Iterator[str]:
    """The original's table, and beneath it what does not follow from its own prices."""
    rows = [
        [
            whole(row.users),
            f"{dollars(row.aws_cloudhsm)}/month",
            f"{dollars(row.gcp_kms)}/month",
            row.written.winner if row.written else "-",
            row.winner,
            {True: "yes", False: "NO", None: "-"}[row.follows],
        ]
        for row in found.rows
    ]
    header = ("users", "AWS CloudHSM", "Google Cloud HSM", "winner as written", "winner by these prices", "follows")
    yield from table(header, rows)
    yield ""
    yield "What does not follow, and what would:"
    yield from (f"- {finding}" for finding in found.findings)
