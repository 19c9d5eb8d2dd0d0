"""`python -m bench.against REVISION`: ordinary operations of this checkout beside an earlier build, by turns.

Exits 1 where an operation got slower: where the whole 95 % interval of its ratio lies above the bound.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from math import comb
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.peer import ROOT

_BOUND = 1.05
_CONFIDENCE = 0.95
_FEWEST_ROUNDS = 9
_PROGRAM = Path(__file__).with_name("ordinary.py")
_BUILDS = ROOT / "build" / "against"


class Comparison(NamedTuple):
    """One operation in two builds: medians in microseconds, and the ratio's median with its interval."""

    what: str
    here: float
    there: float
    ratio: float
    low: float
    high: float

    @property
    def slower(self) -> bool:
        """Whether chance does not explain it."""
        return self.low > _BOUND


def interval(samples: list[float]) -> tuple[float, float]:
    """Bounds of the median that hold with 95 % or more, whatever the distribution: two of the samples in order.

    The median lies below the k-th of n samples as rarely as fewer than k of n fair coins show heads.
    """
    ordered, count = sorted(samples), len(samples)
    outside, cut = 0.0, 0
    while True:
        outside += 2 * comb(count, cut) / 2**count
        if outside > 1 - _CONFIDENCE:
            break
        cut += 1
    if cut == 0:
        msg = f"{count} rounds are too few for an interval"
        raise ValueError(msg)
    return ordered[cut - 1], ordered[count - cut]


def built(revision: str) -> Path:
    """A worktree of the revision, with an environment and a build of its own; it is kept for the next run."""
    commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    tree = _BUILDS / commit[:12]
    if not tree.exists():
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", str(tree), commit)
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(["make", "--quiet", ".venv/.dev", ".venv/.built"], check=True, cwd=tree, env=environment, stdout=2)
    return tree


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def _measured(tree: Path, store: str) -> dict[str, float]:
    # -P: the program stands in this checkout and must take everything else from `tree`.
    command = [tree / ".venv" / "bin" / "python", "-P", _PROGRAM, store]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, check=True, cwd=tree, env=environment, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def compared(tree: Path, store: str, rounds: int) -> list[Comparison]:
    """Both builds in turn, each first in every second round."""
    here: list[dict[str, float]] = []
    there: list[dict[str, float]] = []
    pairs = [(ROOT, here), (tree, there)]
    for number in range(rounds):
        _say(f"{store}, round {number + 1} of {rounds}")
        for place, results in pairs if number % 2 else reversed(pairs):
            results.append(_measured(place, store))
    return [_comparison(what, [run[what] for run in here], [run[what] for run in there]) for what in here[0]]


def _comparison(what: str, here: list[float], there: list[float]) -> Comparison:
    ratios = [ours / theirs for ours, theirs in zip(here, there, strict=True)]
    return Comparison(what, median(here), median(there), median(ratios), *interval(ratios))


def table(store: str, revision: str, rows: list[Comparison]) -> str:
    """The comparisons as Markdown."""
    lines = [f"| {store} | here, µs | {revision}, µs | ratio | 95 % | |", "|---|---|---|---|---|---|"]
    for row in rows:
        verdict = "**slower**" if row.slower else ""
        figures = f"{row.here:,.0f} | {row.there:,.0f} | {row.ratio:.3f} | {row.low:.3f}-{row.high:.3f}"
        lines.append(f"| {row.what} | {figures} | {verdict} |")
    return "\n".join(lines)


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr, flush=True)


def main() -> int:
    """Build the revision, measure, print a table for each database."""
    parser = argparse.ArgumentParser(prog="python -m bench.against", description=__doc__)
    parser.add_argument("revision", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=_FEWEST_ROUNDS, help="how often both run, nine or more")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], action="append", help="both, unless one is named")
    options = parser.parse_args()
    if options.rounds < _FEWEST_ROUNDS:
        parser.error(f"an interval needs {_FEWEST_ROUNDS} rounds or more, not {options.rounds}")
    tree = built(options.revision)
    slower = False
    for store in options.store or ["sqlite", "postgresql"]:
        rows = compared(tree, store, options.rounds)
        slower |= any(row.slower for row in rows)
        print(table(store, options.revision, rows), flush=True)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
