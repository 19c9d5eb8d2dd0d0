"""`icehouse plan`: which HSM, when, and what it will cost."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from icehouse.cli.plan_data import break_even_data, csv_text, phase_data, plan_data, review_data
from icehouse.cli.plan_options import (
    AllOption,
    AnyDriverOption,
    BreakEvenOption,
    BucketsOption,
    CacheOption,
    CatalogueOption,
    ChartOption,
    CheckpointsOption,
    CopiesOption,
    CreationsOption,
    CustodyOption,
    DeviceMonthsOption,
    EnrolmentsOption,
    FormatOption,
    GrowthOption,
    HitRateOption,
    HsmRateOption,
    HsmsOption,
    PeakOption,
    PlanFormat,
    PricesOption,
    ProviderOption,
    RecordsOption,
    RegionOption,
    RequireOption,
    RotationsOption,
    SignaturesOption,
    SoftwareOption,
    UsersOption,
    VersionsOption,
)
from icehouse.cli.plan_question import ORIGINAL, Question, read_pair, read_question
from icehouse.cli.plan_report import break_even_lines, phase_lines, plan_lines, review_lines, sensitivity_lines
from icehouse.cli.printer import say
from icehouse.errors import RequestError
from icehouse.planner import Constraints, Scenario, chart, growth, original, terminal
from icehouse.planner import plan as weigh
from icehouse.planner.breakeven import alternatives, break_even, sensitivity
from icehouse.planner.coefficients import Custody
from icehouse.planner.phases import phases
from icehouse.planner.scenario import fraction
from icehouse.planner.series import series

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icehouse.planner.phases import Phase
    from icehouse.planner.series import Series

_IN_LETTERS = "-"


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer: lines for people, a document for programs, rows for spreadsheets."""

    lines: list[str]
    document: dict[str, Any]
    rows: list[dict[str, Any]]


def plan(  # noqa: PLR0913  every option is one of a scenario's facts
    *,
    users: UsersOption = None,
    catalogue: CatalogueOption = "current",
    prices: PricesOption = None,
    form: FormatOption = PlanFormat.TABLE,
    chart_file: ChartOption = None,
    provider: ProviderOption = None,
    custody: CustodyOption = None,
    require: RequireOption = None,
    any_driver: AnyDriverOption = False,
    every: AllOption = False,
    growth_points: GrowthOption = None,
    pair: BreakEvenOption = None,
    signatures: SignaturesOption = "12",
    rotations: RotationsOption = "1",
    creations: CreationsOption = 0,
    enrolments: EnrolmentsOption = None,
    checkpoints: CheckpointsOption = 0,
    records: RecordsOption = 1024,
    buckets: BucketsOption = 0,
    cache_keys: CacheOption = 256,
    cache_hit_rate: HitRateOption = "0",
    hsms: HsmsOption = None,
    region: RegionOption = None,
    key_versions: VersionsOption = 1,
    backup_copies: CopiesOption = 0,
    peak_factor: PeakOption = "10",
    device_months: DeviceMonthsOption = 36,
    hsm_rate: HsmRateOption = None,
    software_until: SoftwareOption = None,
) -> None:
    """Weigh every provider and custody: cost, limits, break-even points, phases. Opens no vault and no network."""
    scenario = Scenario(
        signatures_per_user_year=fraction("--signatures", signatures),
        rotations_per_user_year=fraction("--rotations", rotations),
        creations_per_month=creations,
        enrolments_per_month=enrolments,
        checkpoints_per_month=checkpoints,
        records_per_data_key=records,
        buckets=buckets,
        cache_keys=cache_keys,
        cache_hit_rate=fraction("--cache-hit-rate", cache_hit_rate),
        hsms=hsms,
        region=region,
        key_versions=key_versions,
        backup_copies=backup_copies,
        peak_factor=fraction("--peak-factor", peak_factor),
        device_months=device_months,
        hsm_rate=None if hsm_rate is None else fraction("--hsm-rate", hsm_rate),
        software_until=software_until,
    )
    constraints = Constraints.parse(require or (), any_driver=any_driver)
    question = read_question(
        catalogue, prices, scenario, users, (tuple(provider or ()), tuple(custody or ())), constraints
    )
    ending = None if chart_file in {None, _IN_LETTERS} else chart.format_of(str(chart_file))
    _print(_answer(question, growth_points, pair, every=every), form)
    if ending is not None:
        _write(Path(str(chart_file)), _drawn(question, growth_points, ending))
    elif chart_file is not None:
        _say_lines(terminal.draw(_series(question)))


def register(app: typer.Typer) -> None:
    """Give an application the command."""
    app.command("plan")(plan)


def _answer(question: Question, growth_points: str | None, pair: str | None, *, every: bool) -> _Answer:
    if growth_points is not None and pair is not None:
        msg = "--growth and --break-even are two questions: ask one at a time"
        raise RequestError(msg)
    if growth_points is not None:
        return _phases(question, growth_points)
    if pair is not None:
        return _break_even(question, pair)
    if question.catalogue.name == ORIGINAL and question.custodies == (Custody.ONE_KEY,) and not question.providers:
        return _review(question)
    return _plans(question, every=every)


def _plans(question: Question, *, every: bool) -> _Answer:
    found = [
        weigh(
            replace(question.scenario, users=number),
            question.catalogue,
            providers=question.providers,
            custodies=question.custodies,
            constraints=question.constraints,
        )
        for number in question.users
    ]
    lines: list[str] = []
    for each in found:
        lines += [*([""] if lines else []), *plan_lines(each, every=every)]
    rows = [row for each in found for row in plan_data(each)]
    return _Answer(lines, {"catalogue": question.catalogue.name, "choices": rows}, rows)


def _review(question: Question) -> _Answer:
    data = review_data(original.review(question.users))
    return _Answer(list(review_lines(original.review(question.users))), {"original": data}, data["rows"])


def _along(question: Question, points: str) -> list[Phase]:
    """Without a custody asked for, the default one: the cheapest would be the one that icehouse warns against."""
    return phases(
        question.catalogue,
        question.scenario,
        growth.parse(points),
        question.constraints,
        providers=question.providers,
        custodies=question.custodies or (Custody.HYBRID,),
    )


def _phases(question: Question, points: str) -> _Answer:
    found = _along(question, points)
    rows = [phase_data(each) for each in found]
    return _Answer(list(phase_lines(found)), {"catalogue": question.catalogue.name, "phases": rows}, rows)


def _break_even(question: Question, pair: str) -> _Answer:
    one, other = read_pair(question.catalogue, pair)
    lines: list[str] = []
    documents = []
    for number in question.users:
        scenario = replace(question.scenario, users=number)
        found = break_even(question.catalogue, (one, other), scenario, unit="signatures")
        lines += [f"with {number:,} users:", *break_even_lines(found)]
        documents.append({"users": number, **break_even_data(found, [], [])})
    by_users = break_even(question.catalogue, (one, other), question.scenario)
    answers = sensitivity(question.catalogue, (one, other), question.scenario)
    others = alternatives(question.catalogue, (one, other), question.scenario)
    lines = [*break_even_lines(by_users), "", *sensitivity_lines(answers, others), "", *lines]
    documents.insert(0, break_even_data(by_users, answers, others))
    rows = [
        {"unit": found["unit"], "with_users": found.get("users"), **tie}
        for found in documents
        for tie in found["points"]
    ]
    return _Answer(lines, {"catalogue": question.catalogue.name, "break_even": documents}, rows)


def _print(answer: _Answer, form: PlanFormat) -> None:
    if form is PlanFormat.JSON:
        typer.echo(json.dumps(answer.document, indent=1, ensure_ascii=False))
    elif form is PlanFormat.CSV:
        typer.echo(csv_text(answer.rows), nl=False)
    else:
        for line in answer.lines:
            typer.echo(line)


def _say_lines(lines: Iterable[str]) -> None:
    """A chart in letters is for people, so that data on standard output stays data."""
    for line in lines:
        typer.echo(line, err=True)


def _series(question: Question) -> Series:
    first, last = min(question.users), max(question.users)
    if first == last:
        msg = "a chart of cost against users needs two different numbers of users"
        raise RequestError(msg, hint="for example --users 100,1000000")
    return series(
        question.catalogue,
        question.scenario,
        question.choices,
        first=first,
        last=last,
        constraints=question.constraints,
    )


def _drawn(question: Question, points: str | None, ending: str) -> bytes:
    prices = f"prices: {question.catalogue.name}"
    if points is None:
        found = _series(question)
        return chart.draw_costs(found, question.catalogue, ending, f"What a month costs ({prices})")
    along = _along(question, points)
    return chart.draw_growth(along, question.catalogue, ending, f"The cheapest choice that can work ({prices})")


def _write(path: Path, content: bytes) -> None:
    """A chart is written to a new name: nothing is ever overwritten."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as exc:
        msg = f"{path} exists already, and nothing is ever overwritten"
        raise RequestError(msg, hint="name another file, or remove this one") from exc
    except OSError as exc:
        msg = f"{path} cannot be written: {exc.strerror}"
        raise RequestError(msg) from exc
    say(f"{path} is written")
