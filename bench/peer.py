"""The peer: ZF's `frost-ed25519` 3.0.0, by the Rust program in `rust/bench`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
_PROGRAM = ROOT / "target" / "release" / "icehouse-bench"


class Peer:
    """Samples of every run so far, in microseconds."""

    def __init__(self) -> None:
        command = ["cargo", "build", "--quiet", "--release", "--locked", "--package", "icehouse-bench"]
        subprocess.run(command, check=True, cwd=ROOT)
        self._samples: dict[str, list[float]] = {}
        self.threads = 0

    def run(self) -> dict[str, float]:
        """Run once more; the medians of this run."""
        found = json.loads(subprocess.run([_PROGRAM], check=True, capture_output=True).stdout)
        self.threads = found.pop("threads")
        for name, samples in found.items():
            self._samples.setdefault(name, []).extend(samples)
        return {name: median(samples) for name, samples in found.items()}
