"""Figures beside the peer's, and the tables they make."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bench.scale import VERBS

_TIMES = "\N{MULTIPLICATION SIGN}"


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


def table(results: list[dict[str, Any]]) -> str:
    """The figures of a run's JSON as a Markdown table."""
    lines = ["| what | icehouse | peer | ratio | goal |", "|---|---:|---:|---:|---|"]
    for row in results:
        theirs = "" if row["theirs"] is None else f"{row['peer']}: {_number(row['theirs'])} {row['unit']}"
        meaning = "as fast" if row["faster"] else "the time"
        ratio = "" if row["ratio"] is None else f"**{row['ratio']:.2f}{_TIMES}** {meaning}"
        lines.append(f"| {row['what']} | {_number(row['ours'])} {row['unit']} | {theirs} | {ratio} | {row['goal']} |")
    return "\n".join(lines) + "\n"


def peers_table(peers: dict[str, dict[str, float]]) -> str:
    """What each library takes for a key of two, and for one side's commitment and share of a signature."""
    lines = ["| one thread | deal a key, µs | commit and sign, µs |", "|---|---:|---:|"]
    lines += [f"| {who} | {took['dealer']:,.0f} | {took['commit_and_sign']:,.0f} |" for who, took in peers.items()]
    return "\n".join(lines) + "\n"


def scale_table(grown: list[dict[str, Any]]) -> str:
    """How the verbs' cost per user stays as vaults grow."""
    heads = [f"{verb}, µs" for verb in VERBS]
    lines = [
        f"| vault | users | {' | '.join(heads)} | HSM operations per 1,000 users: create / rewrap | peak memory |",
        f"|---|---:|{'---:|' * len(heads)}---:|---:|",
    ]
    for row in grown:
        took = [f"{row['microseconds'][verb]:,.1f}" if verb in row["microseconds"] else "" for verb in VERBS]
        asked = [f"{row['operations'][verb] * 1000:.2f}" for verb in ("create", "rewrap") if verb in row["operations"]]
        lines.append(
            f"| {row['custody']} on {row['store']} | {row['users']:,} | {' | '.join(took)} "
            f"| {' / '.join(asked)} | {row['peak_megabytes']:.0f} MB |"
        )
    return "\n".join(lines) + "\n"


def page(run: dict[str, Any]) -> str:
    """The reference page of a run's JSON."""
    facts = "\n".join(f"* {name}: {value}" for name, value in run["machine"].items())
    return f"""# Benchmarks

One run of `make bench`, which alternates each measurement with the peer's and takes medians. Compare ratios, not times.
The peer is `frost-ed25519` 3.0.0 of the Zcash Foundation (ZF), its bare arithmetic in memory, in `rust/bench`.
This page is generated. To measure and write it, then to write it again from the same run:

    python -m bench --json docs/reference/benchmarks.json --page docs/reference/benchmarks.md
    python -m bench --from docs/reference/benchmarks.json --page docs/reference/benchmarks.md

{table(run["results"])}
Users: {run["users"]:,} (enrolled for the last row: {run["enrolled"]:,}); rounds: {run["rounds"]};
threads: {run["threads"]}. "Durable" means SQLite in WAL mode with `synchronous=FULL`: sixteen pages of 1,024 users are
on disk before the next sixteen are written.
Bytes are pages in use after a checkpoint, indexes and data keys included, divided by the users.

## As vaults grow

![Microseconds per user against users](benchmarks.svg)

Times are per user, everything included, with random UUID names and no device enrolled; `rewrap` moves all data keys
under new root keys, `reseal` all records under new data keys, `verify` opens every record and checks both shares
against the commitments. A hierarchical vault has neither data keys nor records.

{scale_table(run["grown"])}
## Other libraries

ed25519, 2-of-2, in memory; none of them seals or stores anything.

{peers_table(run["peers"])}
## Machine

{facts}
"""


def _number(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, float) and value >= 100 else f"{value:.3g}"
