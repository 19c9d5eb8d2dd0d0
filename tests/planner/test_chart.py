"""What charts have in common, and that their words can be read."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from matplotlib.figure import Figure

from icehouse.planner import reading
from icehouse.planner.chart import draw_costs, draw_growth, separate
from icehouse.planner.choice import choices
from icehouse.planner.constraint import Constraints
from icehouse.planner.phases import phases
from icehouse.planner.scenario import Scenario
from icehouse.planner.series import series

CURRENT = reading.load("current")


def costs(*providers: str) -> str:
    asked = choices(CURRENT, providers=providers, custodies=["direct"])
    found = series(CURRENT, Scenario(users=100), asked, first=100, last=1_000_000, constraints=Constraints())
    return draw_costs(found, CURRENT, "svg", "costs").decode()


def growth(provider: str) -> str:
    found = phases(
        CURRENT, Scenario(users=100), [100, 200, 300], Constraints(), providers=[provider], custodies=["hybrid"]
    )
    return draw_growth(found, CURRENT, "svg", "growth").decode()


def colours(chart: str) -> set[str]:
    return set(re.findall(r"(?:stroke|fill): (#[0-9a-f]{6})", chart)) - {"#ffffff", "#000000", "#dddddd", "#999999"}


@pytest.mark.parametrize("provider", ["gcp_kms", "aws_cloudhsm", "aws_kms"])
def test_a_provider_has_the_same_colour_in_every_chart(provider):
    alone, beside, along = colours(costs(provider)), colours(costs("yubihsm2", provider)), colours(growth(provider))

    assert len(alone) == 1
    assert alone == along
    assert alone < beside


def test_labels_at_one_place_are_moved_until_none_lies_on_another():
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    labels = [
        axes.annotate(f"a long label, number {number}", (0.5, 0.5), textcoords="offset points", xytext=(4, -20))
        for number in range(6)
    ]
    separate(figure, labels)
    boxes = [label.get_window_extent() for label in labels]

    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
