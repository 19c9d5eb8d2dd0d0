"""A chart of cost against users in letters, for a terminal."""

from __future__ import annotations

from fractions import Fraction
from math import log10
from typing import TYPE_CHECKING

from icehouse.planner.money import dollars
from icehouse.planner.scenario import shown

if TYPE_CHECKING:
    from icehouse.planner.series import Line, Series

WIDTH, HEIGHT = 72, 20
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MARGIN = 11


def draw(found: Series, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """The chart: capital letters where a choice can work, small ones beyond its limit, `*` at a crossing."""
    costs = [cost for line in found.lines for _, cost in line.points if cost > 0]
    if not costs:
        return ["No choice that costs anything can work: there is nothing to draw."]
    low, high = (int(log10(min(costs)) // 1), int(-(-log10(max(costs)) // 1)))
    grid = [[" "] * width for _ in range(height)]
    place = _Place(found, width, height, (low, max(high, low + 1)))
    for letter, line in zip(_LETTERS, found.lines, strict=False):
        _trace(grid, place, line, letter)
    for crossing in found.crossings:
        place.put(grid, crossing.users, crossing.cost, "*")
    return [*_framed(grid, place), *_legend(found)]


class _Place:
    """Where a number of users and a cost stand in the grid."""

    def __init__(self, found: Series, width: int, height: int, decades: tuple[int, int]) -> None:
        self.first, self.last, self.decades = found.first, found.last, decades
        self._width, self._height = width, height

    def column(self, users: int) -> int:
        span = log10(self.last / self.first) or 1
        return round(log10(users / self.first) / span * (self._width - 1))

    def row(self, cost: float) -> int:
        low, high = self.decades
        return self._height - 1 - round((log10(cost) - low) / (high - low) * (self._height - 1))

    def put(self, grid: list[list[str]], users: int, cost: float, mark: str) -> None:
        if cost > 0:
            grid[self.row(cost)][self.column(users)] = mark


def _trace(grid: list[list[str]], place: _Place, line: Line, letter: str) -> None:
    for users, cost in line.points:
        place.put(grid, users, cost, letter if users <= line.last else letter.lower())


def _framed(grid: list[list[str]], place: _Place) -> list[str]:
    low, high = place.decades
    labels = {place.row(10.0**decade): f"${10.0**decade:,.{max(0, -decade)}f}" for decade in range(low, high + 1)}
    rows = [f"{labels.get(number, ''):>{_MARGIN}} |{''.join(row)}".rstrip() for number, row in enumerate(grid)]
    ends = f"{shown(place.first)}{shown(place.last) + ' users':>{len(grid[0]) - len(shown(place.first))}}"
    return ["a month", *rows, f"{'':>{_MARGIN}} +{'-' * len(grid[0])}", f"{'':>{_MARGIN}}  {ends}"]


def _legend(found: Series) -> list[str]:
    lines = []
    for letter, line in zip(_LETTERS, found.lines, strict=False):
        beyond = f"; beyond {shown(line.last)} users not possible: {line.limit}" if line.limit else ""
        lines.append(f"{letter}  {line.choice}{beyond}")
    for crossing in found.crossings:
        cost = dollars(Fraction(round(crossing.cost * 100), 100))
        users = shown(crossing.users)
        lines.append(f"*  up to {users} users {crossing.before}, then {crossing.after} ({cost} a month)")
    return lines
