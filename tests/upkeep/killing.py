"""The tests' side of `killed.py`: verbs done by processes of their own, killed where a test says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a process ended."""

    killed: bool
    value: object
    error: str
    points: int
    """How many primitives it did."""
    on_data_keys: int
    """How often it asked an HSM to wrap or to unwrap a data key of a user's."""
    statements: int
    """How many statements it sent to its database."""


class Killer:
    """Forks processes off one that has imported everything."""

    def __init__(self, words: Path) -> None:
        self.words = words.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", Path(__file__).with_name("killed.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            text=True,
            env={**os.environ, "RAYON_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
        )

    def run(self, do: str, path: Path, *, at: int | None = None, of: str = "any", **arguments: object) -> Outcome:
        """Do a verb in a process; kill it at the n-th point of a kind."""
        request = {"do": do, "path": str(path), **arguments}
        if at is not None:
            request |= {"at": True, "of": of, "number": at}
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        assert told["status"] in {0, -signal.SIGKILL}, told
        return Outcome(
            told["status"] == -signal.SIGKILL,
            told.get("done"),
            told.get("error", ""),
            told["counted"]["any"],
            told["counted"]["data-key"],
            told["counted"]["statement"],
        )

    def done(self, do: str, path: Path, **arguments: object) -> Outcome:
        """Do a verb to its end."""
        outcome = self.run(do, path, **arguments)
        assert not outcome.killed
        assert not outcome.error, outcome.error
        return outcome

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.words.close()
