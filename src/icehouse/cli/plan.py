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
    numbers,
)
from icehouse.cli.plan_report import break_even_lines, phase_lines, plan_lines, review_lines, sensitivity_lines
from icehouse.cli.printer import say
from icehouse.errors import RequestError
from icehouse.planner import Choice, Constraints, Scenario, chart, growth, original, reading, terminal
from icehouse.planner import plan as weigh
from icehouse.planner.breakeven import alternatives, break_even, sensitivity
from icehouse.planner.choice import choices, custody_of
from icehouse.planner.coefficients import Custody
from icehouse.planner.phases import phases
from icehouse.planner.scenario import fraction
from icehouse.planner.series import series

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icehouse.planner.catalogue import Catalogue
    from icehouse.planner.series import Series

_USERS = (100, 1_000, 10_000, 100_000, 1_000_000)
_ORIGINAL = "original"
_IN_LETTERS = "-"


@dataclass(frozen=True, slots=True)
class _Question:
    """What was asked, read and checked."""

    catalogue: Catalogue
    scenario: Scenario
    users: tuple[int, ...]
    providers: tuple[str, ...]
    custodies: tuple[str, ...]
    constraints: Constraints

    @property
    def choices(self) -> list[Choice]:
        """The choices that were asked about."""
        return choices(
            self.catalogue,
            providers=self.providers,
            custodies=self.custodies,
            two_providers=self.constraints.two_providers,
        )


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
    question = _question(catalogue, prices, scenario, users, (tuple(provider or ()), tuple(custody or ())), constraints)
    ending = None if chart_file in {None, _IN_LETTERS} else chart.format_of(str(chart_file))
    _print(_answer(question, growth_points, pair, every=every), form)
    if ending is not None:
        _write(Path(str(chart_file)), _drawn(question, growth_points, ending))
    elif chart_file is not None:
        _say_lines(terminal.draw(_series(question)))


def register(app: typer.Typer) -> None:
    """Give an application the command."""
    app.command("plan")(plan)


def _question(
    name: str,
    prices: Path | None,
    scenario: Scenario,
    users: str | None,
    wanted: tuple[tuple[str, ...], tuple[str, ...]],
    constraints: Constraints,
) -> _Question:
    catalogue = reading.load(name)
    if prices is not None:
        catalogue = reading.read(_text(prices), str(prices), catalogue)
    catalogue.check_region(scenario.region)
    default = original.written_users() if name == _ORIGINAL else _USERS
    found = tuple(numbers(users)) if users else tuple(default)
    for number in found:
        replace(scenario, users=number)  # raises RequestError for an absurd one, before anything is printed
    providers, custodies = wanted
    if name == _ORIGINAL and not custodies:
        custodies = (Custody.ONE_KEY.value,)
    return _Question(catalogue, replace(scenario, users=found[0]), found, providers, custodies, constraints)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        msg = f"{path} cannot be read: {exc.strerror}"
        raise RequestError(msg) from exc
    except UnicodeDecodeError as exc:
        msg = f"{path} is not TOML: it is not UTF-8"
        raise RequestError(msg) from exc


def _answer(question: _Question, growth_points: str | None, pair: str | None, *, every: bool) -> _Answer:
    if growth_points is not None and pair is not None:
        msg = "--growth and --break-even are two questions: ask one at a time"
        raise RequestError(msg)
    if growth_points is not None:
        return _phases(question, growth_points)
    if pair is not None:
        return _break_even(question, pair)
    if question.catalogue.name == _ORIGINAL and question.custodies == (Custody.ONE_KEY,) and not question.providers:
        return _review(question)
    return _plans(question, every=every)


def _plans(question: _Question, *, every: bool) -> _Answer:
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


def _review(question: _Question) -> _Answer:
    data = review_data(original.review(question.users))
    return _Answer(list(review_lines(original.review(question.users))), {"original": data}, data["rows"])


def _phases(question: _Question, points: str) -> _Answer:
    found = phases(
        question.catalogue,
        question.scenario,
        growth.parse(points),
        question.constraints,
        providers=question.providers,
        custodies=question.custodies,
    )
    rows = [phase_data(each) for each in found]
    return _Answer(list(phase_lines(found)), {"catalogue": question.catalogue.name, "phases": rows}, rows)


def _break_even(question: _Question, pair: str) -> _Answer:
    one, other = _pair(question.catalogue, pair)
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


def _pair(catalogue: Catalogue, text: str) -> tuple[Choice, Choice]:
    parts = [part.strip().partition(":") for part in text.split(",")]
    if len(parts) != 2 or not all(colon for _, colon, _ in parts):  # noqa: PLR2004  a pair
        msg = f"two choices are written PROVIDER:CUSTODY,PROVIDER:CUSTODY, not {text!r}"
        raise RequestError(msg, hint="for example --break-even gcp_kms:direct,aws_cloudhsm:direct")
    one, other = (Choice(catalogue.provider(name).name, custody_of(custody)) for name, _, custody in parts)
    if one == other:
        msg = f"{one} breaks even with itself everywhere"
        raise RequestError(msg)
    return one, other


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


def _series(question: _Question) -> Series:
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


def _drawn(question: _Question, points: str | None, ending: str) -> bytes:
    prices = f"prices: {question.catalogue.name}"
    if points is None:
        found = _series(question)
        return chart.draw_costs(found, question.catalogue, ending, f"What a month costs ({prices})")
    along = phases(
        question.catalogue,
        question.scenario,
        growth.parse(points),
        question.constraints,
        providers=question.providers,
        custodies=question.custodies,
    )
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
