"""Charts as PNG or SVG: cost against users, and a growth timeline. Needs the extra `charts`."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from icehouse.errors import MissingExtraError, RequestError
from icehouse.planner.money import dollars
from icehouse.planner.scenario import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from icehouse.planner.catalogue import Catalogue
    from icehouse.planner.phases import Phase
    from icehouse.planner.series import Crossing, Line, Series

FORMATS = ("png", "svg")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f6000", "#56b4e9", "#333333", "#e69f00", "#5e3c99")
_STYLES = {"direct": "-", "hybrid": "--", "hierarchical": ":", "one-key": "-"}
_HATCHES = {"direct": "", "hybrid": "//", "hierarchical": "..", "one-key": ""}
_NOTHING = "#999999"
_WIDEST, _THINNEST = 5.0, 1.6
_BAND = 1.22
_NEAR = 1.05
_PLAIN = 300
_SIZE = (10.5, 7)
_DPI = 120
_POINTS_PER_INCH = 72
_GAP = 2


def format_of(name: str) -> str:
    """`png` or `svg`, by a file's name; raises `RequestError`."""
    ending = name.rpartition(".")[2].lower()
    if ending not in FORMATS:
        msg = f"a chart is written as .png or .svg, not {name!r}"
        raise RequestError(msg)
    return ending


def _figure(ending: str) -> Any:  # noqa: ANN401  matplotlib is optional, and so are its types
    try:
        import matplotlib as mpl  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as exc:
        extra = "charts"
        raise MissingExtraError(extra) from exc
    # The same chart gives the same bytes; letters stay letters.
    mpl.rcParams.update({"svg.hashsalt": "icehouse", "svg.fonttype": "none", "font.size": 10})
    return Figure(figsize=_SIZE, dpi=_DPI, layout="constrained", facecolor="white" if ending else None)


def _written(figure: Any, ending: str) -> bytes:  # noqa: ANN401
    target = BytesIO()
    figure.savefig(target, format=ending, metadata={"Date": None} if ending == "svg" else {"Software": None})
    return target.getvalue()


def draw_costs(found: Series, catalogue: Catalogue, ending: str, title: str) -> bytes:
    """Cost against users on logarithmic axes; faint and crossed out where a limit is exceeded, a dot at a crossing."""
    figure = _figure(ending)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    colours = _colours(catalogue)
    for number, line in enumerate(found.lines):
        # Lines that lie on each other stay visible: every next one is thinner than those beneath it.
        width = _WIDEST - (_WIDEST - _THINNEST) * number / max(1, len(found.lines) - 1)
        _draw_line(axes, line, catalogue, colours, width)
    labels = [*_draw_crossings(axes, found)]
    labels += [label for line in found.lines for label in _draw_impossible(axes, line, colours)]
    axes.set_xlim(found.first, found.last)
    axes.set_xlabel("users")
    axes.set_ylabel("US dollars a month")
    axes.set_title(title, loc="left")
    _plain_numbers(axes)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.8)
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    separate(figure, labels)
    return _written(figure, ending)


def _colours(catalogue: Catalogue) -> dict[str, str]:
    """Every provider of a catalogue has its colour, whichever of them a chart shows."""
    return {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(catalogue.providers)}


def separate(figure: Any, labels: Sequence[Any]) -> None:  # noqa: ANN401
    """Move labels down, in their order, until none lies on an earlier one."""
    figure.draw_without_rendering()
    placed: list[Any] = []
    for label in labels:
        box = label.get_window_extent()
        while lower := [other.y0 for other in placed if box.overlaps(other)]:
            by = box.y1 - min(lower) + _GAP
            x, y = label.get_position()
            label.set_position((x, y - by * _POINTS_PER_INCH / figure.dpi))
            box = label.get_window_extent()
        placed.append(box)


def _draw_line(
    axes: Any,  # noqa: ANN401
    line: Line,
    catalogue: Catalogue,
    colours: dict[str, str],
    width: float,
) -> None:
    titles = " + ".join(catalogue.providers[name].title for name in line.choice.providers)
    limit = f" (up to {shown(line.last)} users)" if line.limit else ""
    possible = [(users, cost) for users, cost in line.points if users <= line.last and cost > 0]
    if possible:
        axes.plot(
            *zip(*possible, strict=True),
            _STYLES[str(line.choice.custody)],
            color=colours[line.choice.provider],
            linewidth=width,
            label=f"{titles}, {line.choice.custody}{limit}",
        )


def _draw_impossible(axes: Any, line: Line, colours: dict[str, str]) -> Iterator[Any]:  # noqa: ANN401
    """A hatched band where the line would go on beyond its limit; yields the limit's name at its beginning."""
    beyond = [(users, cost) for users, cost in line.points if users >= line.last and cost > 0]
    if not line.limit or not beyond:
        return
    colour = colours[line.choice.provider]
    xs = [line.last, *(users for users, _ in beyond)]
    ys = [beyond[0][1], *(cost for _, cost in beyond)]
    low, high = [y / _BAND for y in ys], [y * _BAND for y in ys]
    axes.fill_between(
        xs, low, high, facecolor="none", edgecolor=colour, hatch="////", alpha=0.45, linewidth=0, zorder=1
    )
    axes.plot(xs[0], ys[0], "X", color=colour, markersize=11, markeredgecolor="white", zorder=6)
    right = line.last > line.points[-1][0] ** 0.7 * line.points[0][0] ** 0.3
    yield axes.annotate(
        f"{line.choice.custody}: not beyond {shown(line.last)} ({line.limit.replace('_', ' ')})",
        (xs[0], ys[0]),
        textcoords="offset points",
        xytext=(-4 if right else 4, -20),
        ha="right" if right else "left",
        color=colour,
        fontsize=9,
        zorder=6,
    )


def _draw_crossings(axes: Any, found: Series) -> Iterator[Any]:  # noqa: ANN401
    """A dot at each crossing; yields its number of users."""
    for near in _clusters(found):
        first, last = near[0], near[-1]
        axes.plot(
            [each.users for each in near], [each.cost for each in near], "o", color="black", markersize=6, zorder=7
        )
        words = shown(first.users) if first.users == last.users else f"{shown(first.users)} - {shown(last.users)}"
        yield axes.annotate(
            words,
            (first.users, first.cost),
            textcoords="offset points",
            xytext=(-8, 9),
            ha="right",
            fontsize=10,
            fontweight="bold",
            zorder=7,
        )


def _clusters(found: Series) -> list[list[Crossing]]:
    """Crossings too close to be told apart share one label."""
    clusters: list[list[Crossing]] = []
    for each in sorted(found.crossings, key=lambda crossing: (crossing.users, crossing.cost)):
        near = next((c for c in clusters if _close(c[0].users, each.users) and _close(c[0].cost, each.cost)), None)
        if near is None:
            clusters.append([each])
        else:
            near.append(each)
    return clusters


def _close(one: float, other: float) -> bool:
    return max(one, other) <= _NEAR * min(one, other)


def _plain_numbers(axes: Any) -> None:  # noqa: ANN401
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415

    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${value:,.0f}" if value >= 1 else f"${value:g}"))


def draw_growth(found: Sequence[Phase], catalogue: Catalogue, ending: str, title: str) -> bytes:
    """A timeline: users above, the cheapest choice's cost below, one colour for each phase."""
    figure = _figure(ending)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1))
    colours = _colours(catalogue)
    for phase in found:
        colour = colours[phase.choice.provider] if phase.choice else _NOTHING
        hatch = _HATCHES[str(phase.choice.custody)] if phase.choice else ""
        months = [month.number for month in phase.months]
        above.plot(months, [month.users for month in phase.months], "o-", color=colour, markersize=3)
        costs = [float(month.best.cost) if month.best else 0.0 for month in phase.months]
        below.bar(
            months, costs, width=0.9, color=colour, hatch=hatch, edgecolor="white", label=_phase_words(phase, catalogue)
        )
        for axes in (above, below):
            axes.axvline(months[0] - 0.5, color="#999999", linewidth=0.8, linestyle=":")
    above.set_yscale("log")
    if _wide(found):
        below.set_yscale("log")
    above.set_ylabel("users")
    below.set_ylabel("US dollars a month")
    below.set_xlabel("month")
    above.set_title(title, loc="left")
    _plain_users(above, below)
    figure.legend(*below.get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize=9)
    return _written(figure, ending)


def _wide(found: Sequence[Phase]) -> bool:
    """Whether the costs differ so much that the low ones would vanish on a plain axis."""
    costs = [float(month.best.cost) for phase in found for month in phase.months if month.best and month.best.cost]
    return bool(costs) and max(costs) > _PLAIN * min(costs)


def _plain_users(above: Any, below: Any) -> None:  # noqa: ANN401
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415

    above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${value:,.0f}"))
    for axes in (above, below):
        axes.grid(visible=True, color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)


def _phase_words(phase: Phase, catalogue: Catalogue) -> str:
    if phase.choice is None:
        return f"months {phase.first.number}-{phase.last.number}: no choice can work"
    titles = " + ".join(catalogue.providers[name].title for name in phase.choice.providers)
    return (
        f"months {phase.first.number}-{phase.last.number}, {shown(phase.first.users)}-{shown(phase.last.users)} users: "
        f"{titles}, {phase.choice.custody} ({dollars(phase.cost)} in all)"
    )
