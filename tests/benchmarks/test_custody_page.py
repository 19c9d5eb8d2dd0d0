"""The custody page's figures are those of a run, and the run's operations are those that the page promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.custody import PAGE, measured, rewritten

RUN = json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8"))


def test_the_page_in_the_repository_shows_the_run_beside_it():
    page = PAGE.read_text(encoding="utf-8")

    assert rewritten(page, RUN) == page


def test_the_run_has_every_custody_at_every_size():
    sizes = sorted({result["users"] for result in RUN["results"]})
    found = [(result["users"], result["custody"], result["buckets"] > 0) for result in RUN["results"]]
    custodies = [("direct", False), ("hybrid", False), ("hierarchical", True), ("hierarchical", False)]

    assert sizes[0] == 1000
    assert found == [(users, *custody) for users in sizes for custody in custodies]


@pytest.mark.parametrize("number", range(4))
def test_a_run_of_today_asks_the_hsm_for_what_the_page_says(tmp_path, number):
    shown = RUN["results"][number]
    again = measured(tmp_path / "again", shown["custody"], shown["buckets"], shown["users"])

    assert (again.hsm_keys, again.created_operations) == (shown["hsm_keys"], shown["created_operations"])
    assert again.enrolled_operations == pytest.approx(shown["enrolled_operations"], abs=0.02)
    assert (again.signed_operations, again.rotated_operations) == (shown["signed_operations"], shown["rotated_operations"])
    assert again.bytes_per_user == pytest.approx(shown["bytes_per_user"], rel=0.02)


def test_a_page_without_a_place_for_figures_is_left_alone():
    with pytest.raises(ValueError, match="no place"):
        rewritten("# Another page\n", RUN)


def test_the_page_names_the_tests_that_hold_it():
    named = Path("tests/conformance/custody/test_properties.py")

    assert str(named) in PAGE.read_text(encoding="utf-8")
    assert (PAGE.parents[2] / named).exists()
