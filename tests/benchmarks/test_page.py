"""The benchmark page says what a run measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from bench.results import Figure, page, table

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_in_the_repository_is_the_one_its_json_makes():
    run = json.loads((REFERENCE / "benchmarks.json").read_text(encoding="utf-8"))

    assert (REFERENCE / "benchmarks.md").read_text(encoding="utf-8") == page(run)


def test_a_ratio_of_speed_is_the_peers_time_over_ours():
    assert Figure("creation", 20.0, "µs", "peer", 50.0, faster=True).ratio == 2.5


def test_a_ratio_of_time_is_our_time_over_the_peers():
    assert Figure("signing", 60.0, "µs", "peer", 50.0).ratio == 1.2


def test_a_figure_without_a_peer_has_no_ratio():
    row = Figure("on disk", 289.4, "bytes", goal="≤ 300").to_json()

    assert row["ratio"] is None
    assert "| on disk | 289 bytes |  |  | ≤ 300 |" in table([row])
