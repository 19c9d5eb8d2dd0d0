"""Figures beside the peer's, and the table they make."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: ours, the peer's where there is one, what their ratio means, and the goal it is held against."""

    what: str
    ours: float
    unit: str
    peer: str | None = None
    theirs: float | None = None
    faster: bool = False
    """The ratio says how many times as fast we are; otherwise how many times as long we take."""
    goal: str = ""

    @property
    def ratio(self) -> float | None:
        """As `faster` says; None without a peer."""
        if self.theirs is None:
            return None
        return self.theirs / self.ours if self.faster else self.ours / self.theirs

    def to_json(self) -> dict[str, object]:
        """All fields, and the ratio."""
        ratio = self.ratio
        return {**asdict(self), "ratio": None if ratio is None else round(ratio, 3)}


def table(results: list[dict[str, object]]) -> str:
    """The figures of a run's JSON as a Markdown table."""
    lines = ["| what | icehouse | peer | ratio | goal |", "|---|---:|---:|---:|---|"]
    for row in results:
        theirs = "" if row["theirs"] is None else f"{row['peer']}: {_number(row['theirs'])} {row['unit']}"
        meaning = "as fast" if row["faster"] else "the time"
        ratio = "" if row["ratio"] is None else f"**{row['ratio']:.2f}\N{MULTIPLICATION SIGN}** {meaning}"
        lines.append(f"| {row['what']} | {_number(row['ours'])} {row['unit']} | {theirs} | {ratio} | {row['goal']} |")
    return "\n".join(lines) + "\n"


def page(run: dict[str, object]) -> str:
    """The reference page of a run's JSON."""
    machine = run["machine"]
    if not isinstance(machine, dict):
        msg = "this is no JSON of a run: its machine's facts are missing"
        raise TypeError(msg)
    facts = "\n".join(f"* {name}: {value}" for name, value in machine.items())
    return f"""# Benchmarks

One run of `make bench`, which alternates each measurement with the peer's and takes medians. Compare ratios, not times.
The peer is `frost-ed25519` 3.0.0 of the Zcash Foundation, its bare arithmetic in memory, in `rust/bench`.
This page is generated. To measure and write it, then to write it again from the same run:

    python -m bench --json docs/reference/benchmarks.json --page docs/reference/benchmarks.md
    python -m bench --from docs/reference/benchmarks.json --page docs/reference/benchmarks.md

{table(run["results"])}
Users: {run["users"]:,} (enrolled for the last row: {run["enrolled"]:,}); rounds: {run["rounds"]};
threads: {run["threads"]}. "Durable" means SQLite in WAL mode with `synchronous=FULL`: every page of 1,024 users is on
disk before the next is written.
Bytes are pages in use after a checkpoint, indexes and data keys included, divided by the users.

## Machine

{facts}
"""


def _number(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, float) and value >= 100 else f"{value:.3g}"
