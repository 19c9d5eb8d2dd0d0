"""A chart of a run: what each verb costs per user as vaults grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.scale import VERBS

if TYPE_CHECKING:
    from pathlib import Path

_COLOURS = dict(zip(VERBS, ("#0072b2", "#009e73", "#d55e00", "#cc79a7"), strict=True))
_STYLES = {"hybrid on sqlite": "-", "hierarchical on sqlite": ":", "hybrid on postgresql": "--"}


def draw(run: dict[str, Any], file: Path) -> None:
    """Write the chart of a run's JSON as SVG."""
    import matplotlib as mpl  # noqa: PLC0415  half a second, and only where a chart is asked for
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams.update({"svg.hashsalt": "icehouse", "svg.fonttype": "none", "font.size": 10})
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="users", ylabel="microseconds per user")
    for (kind, verb), points in _lines(run["grown"]).items():
        axes.plot(*zip(*points, strict=True), _STYLES[kind], color=_COLOURS[verb], marker="o", label=f"{verb}, {kind}")
    dealer = next(row for row in run["results"] if row["theirs"] is not None)
    axes.axhline(dealer["theirs"], color="#777777", linewidth=1, label=f"{dealer['peer']}, in memory")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=9)
    figure.savefig(file, format="svg", metadata={"Date": None})


def _lines(grown: list[dict[str, Any]]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in grown:
        for verb, took in row["microseconds"].items():
            lines.setdefault((f"{row['custody']} on {row['store']}", verb), []).append((row["users"], took))
    return lines
