"""`icehouse plan`: tables, JSON, CSV and charts, and clear errors."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer
from typer.testing import CliRunner

from icehouse.cli.plan import register
from icehouse.errors import MissingExtraError, RequestError

ICEHOUSE = Path(sys.executable).with_name("icehouse")
PNG = b"\x89PNG\r\n\x1a\n"
OWN = """
[[price]]
provider = "aws_cloudhsm"
item = "hsm"
unit = "hsm_hour"
usd = 1.00
source = "our contract"
as_of = "2026-11"
confidence = "high"
default = true
region = "us-east-1"
"""


def invoke(*arguments):
    app = typer.Typer(rich_markup_mode=None)
    register(app)
    return CliRunner().invoke(app, list(arguments))


def plan(*arguments):
    result = invoke(*arguments)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def documented(*arguments):
    return json.loads(plan(*arguments, "--format", "json"))


def test_the_original_is_printed_row_by_row_and_its_contradictions_beneath():
    found = plan("--catalogue", "original", "--users", "100,1000,2100,10000,100000,1000000")
    rows = [line.split() for line in found.splitlines()[1:7]]

    assert [row[0] for row in rows] == ["100", "1,000", "2,100", "10,000", "100,000", "1,000,000"]
    assert [row[-1] for row in rows] == ["yes", "yes", "NO", "NO", "yes", "yes"]
    assert "The tie is at 21,000 users, not 2,100" in found


def test_the_original_without_users_is_printed_with_its_own():
    assert plan("--catalogue", "original") == plan(
        "--catalogue", "original", "--users", "100,1000,2100,10000,100000,1000000"
    )


def test_json_has_every_choice_with_what_binds_and_where_that_was_found():
    found = documented("--users", "16667", "--provider", "aws_cloudhsm", "--custody", "direct")
    (choice,) = found["choices"]

    assert not choice["feasible"]
    assert choice["limits_exceeded"] == [
        {
            "provider": "aws_cloudhsm",
            "limit": "keys",
            "value": 16666,
            "needed": 16668,
            "unit": "keys",
            "source": "icehouse provider notes, November 2026",
            "as_of": "2026-11",
        }
    ]


def test_csv_has_one_row_for_every_choice_and_number_of_users():
    rows = list(csv.DictReader(plan("--users", "100,1000", "--custody", "hybrid", "--format", "csv").splitlines()))

    assert len(rows) == 2 * 9
    assert {row["users"] for row in rows} == {"100", "1000"}
    assert all(float(row["cost_month"]) >= 0 for row in rows)


def test_a_table_hides_what_cannot_work_and_says_why_on_demand():
    short, long = (plan("--users", "1000", *more) for more in ((), ("--all",)))

    assert "16 choices cannot work; --all says why" in short
    assert "simulated has at most 0 users" in long


def test_prices_of_ones_own_count(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(OWN, encoding="utf-8")
    arguments = ("--users", "10", "--provider", "aws_cloudhsm", "--custody", "hybrid")
    own, shipped = documented(*arguments, "--prices", str(file)), documented(*arguments)

    assert own["choices"][0]["cost_month"] == 2 * 730
    assert shipped["choices"][0]["cost_month"] == 2 * 730 * 1.6


def test_break_even_points_come_in_users_and_in_signatures_with_what_moves_them():
    found = documented("--users", "100", "--break-even", "gcp_kms:one-key,aws_cloudhsm:one-key")
    by_users, by_signatures = found["break_even"]

    assert [point["number"] for point in by_users["points"]] == [2336, 2337]
    assert {each["item"] for each in by_users["sensitivity"]} == {"key.aes", "hsm"}
    assert len(by_users["other_claims"]) == 3
    assert by_signatures["unit"] == "signatures"


def test_growth_is_planned_in_phases():
    found = documented("--catalogue", "original", "--growth", "0:50,24:20000,36:60000")

    assert [phase["provider"] for phase in found["phases"]] == ["simulated", "gcp_kms", "aws_cloudhsm"]


def test_requirements_leave_only_what_meets_them():
    found = documented("--users", "1000", "--require", "FIPS 140-3 level 3", "--require", "single tenant")

    assert {each["provider"] for each in found["choices"] if each["feasible"]} == {"aws_cloudhsm"}


@pytest.mark.parametrize("more", [(), ("--growth", "0:50,12:20000")], ids=["costs", "growth"])
def test_a_chart_is_written_as_png(tmp_path, more):
    file = tmp_path / "chart.png"
    plan("--users", "100,100000", "--chart", str(file), *more)

    assert file.read_bytes().startswith(PNG)


@pytest.mark.parametrize("more", [(), ("--growth", "0:50,12:20000")], ids=["costs", "growth"])
def test_the_same_chart_is_the_same_svg_again(tmp_path, more):
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for file in files:
        plan("--users", "100,100000", "--chart", str(file), *more)

    assert ET.parse(files[0]).getroot().tag.endswith("svg")  # noqa: S314  our own file
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_chart_names_its_break_even_points_and_where_a_limit_ends_a_line(tmp_path):
    file = tmp_path / "chart.svg"
    plan(
        "--users", "100,1000000", "--provider", "gcp_kms", "--provider", "aws_cloudhsm", "--custody", "direct",
        "--chart", str(file),
    )  # fmt: skip
    words = file.read_text(encoding="utf-8")

    assert ">2,334<" in words
    assert ">direct: not beyond 16,665 (keys)<" in words


def test_a_chart_in_letters_goes_to_standard_error_so_that_data_stays_data():
    result = invoke("--users", "100,1000000", "--custody", "direct", "--chart", "-", "--format", "json")

    assert json.loads(result.stdout)["choices"]
    assert "beyond 16,665 users not possible: keys" in result.stderr
    assert "*  up to 2,334 users gcp_kms direct, then aws_cloudhsm direct ($2,336 a month)" in result.stderr


def test_a_chart_never_overwrites_a_file(tmp_path):
    file = tmp_path / "chart.svg"
    file.write_text("mine", encoding="utf-8")

    with pytest.raises(RequestError, match="nothing is ever overwritten"):
        plan("--users", "100,1000", "--chart", str(file))

    assert file.read_text(encoding="utf-8") == "mine"


def test_without_matplotlib_a_chart_names_the_extra_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingExtraError) as caught:
        plan("--users", "100,1000", "--chart", str(tmp_path / "chart.png"))

    assert caught.value.hint == "pip install 'icehouse[charts]'"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--users", "-5"), "users must be between 1 and 1,000,000,000, not -5"),
        (("--users", "many"), "users must be whole numbers separated by commas, not 'many'"),
        (("--users", "100,,5"), "users must be whole numbers"),
        (("--users", "1" + 15 * "0"), "users must be between"),
        (("--signatures", "-1"), "signatures per user year must be between 0 and"),
        (("--signatures", "often"), "--signatures must be a number, not 'often'"),
        (("--cache-hit-rate", "2"), "cache hit rate must be between 0 and 1, not 2"),
        (("--provider", "acme"), "provider must be one of .*, not 'acme'"),
        (("--custody", "paper"), "custody must be one of .*, not 'paper'"),
        (("--region", "mars"), "region must be one of us-east-1, westeurope, not 'mars'"),
        (("--catalogue", "old"), "catalogue must be one of current, original, not 'old'"),
        (("--prices", "/nowhere/prices.toml"), "/nowhere/prices.toml cannot be read"),
        (("--require", "cheap"), "a requirement must be one of"),
        (("--growth", "5"), "points must read MONTH:USERS"),
        (("--break-even", "gcp_kms:direct"), "two choices are written"),
        (("--break-even", "gcp_kms:direct,gcp_kms:direct"), "breaks even with itself everywhere"),
        (("--break-even", "acme:direct,gcp_kms:direct"), "provider must be one of"),
        (("--growth", "0:5", "--break-even", "gcp_kms:direct,aws_kms:direct"), "two questions"),
        (("--chart", "chart.pdf"), "a chart is written as .png or .svg, not 'chart.pdf'"),
        (("--users", "5", "--chart", "-"), "needs two different numbers of users"),
        (("--users", "5,9", "--chart", "/nowhere/chart.png"), "/nowhere/chart.png cannot be written"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_rule(arguments, message):
    with pytest.raises(RequestError, match=message):
        plan(*arguments)


def test_the_command_itself_ends_with_1_and_an_error_that_names_the_place(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace('unit = "hsm_hour"\n', ""), encoding="utf-8")
    result = subprocess.run(
        [ICEHOUSE, "plan", "--prices", file], capture_output=True, text=True, check=False, timeout=60
    )

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"icehouse: error: {file}, [[price]] number 1 (aws_cloudhsm hsm) lacks unit\n"


def test_a_number_with_commas_in_it_is_not_taken_for_several():
    for text in ("10,500", "1,000,000", "100,500"):
        with pytest.raises(RequestError, match="reads as one number and as several") as told:
            plan("--users", text)
        assert text.replace(",", "") in told.value.hint
    assert len(documented("--users", "10, 500", "--provider", "gcp_kms", "--custody", "hybrid")["choices"]) == 2


def test_what_a_price_does_not_say_of_hierarchical_custody_is_beside_it():
    found = plan("--users", "10000")
    rows = [line for line in found.splitlines() if " hierarchical" in line.partition("$")[0] and "$" in line]
    choices = documented("--users", "10000")["choices"]

    assert rows
    assert all(" hierarchical * " in row for row in rows)
    assert "* hierarchical: whoever can use its master key" in found
    assert all(
        any("master key" in note for note in each["notes"]) == (each["custody"] == "hierarchical") for each in choices
    )


def test_growth_is_planned_with_the_default_custody_unless_another_is_named():
    default = documented("--growth", "0:50,24:20000")["phases"]
    named = documented("--growth", "0:50,24:20000", "--custody", "hierarchical")["phases"]

    assert {phase["custody"] for phase in default} == {"hybrid"}
    assert {phase["custody"] for phase in named} == {"hierarchical"}
