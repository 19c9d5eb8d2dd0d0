"""Other peers: `frost-rs` from PyPI and `@noble/curves` on Node, each on one thread, in memory."""

from __future__ import annotations

import json
import shutil
import subprocess
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from bench.peer import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS = 300
_MESSAGE = b"a message of thirty-two bytes..."
_PACKAGES = ROOT / "tests" / "foreign"


def frost_rs() -> dict[str, float]:
    """Median microseconds of its dealer and of the server's half of a signature."""
    from frost_rs import utility_ed25519 as suite  # noqa: PLC0415  a peer, and only here

    shares = suite.get_key(2, 2)
    packages = {number: suite.gen_key_package(share) for number, share in shares.items()}
    device, server = packages
    _, of_device = suite.preprocess(packages[device])

    def commit_and_sign() -> None:
        nonces, own = suite.preprocess(packages[server])
        suite.sign(_MESSAGE, {device: of_device, server: own}, nonces, packages[server])

    return {"dealer": _median(lambda: suite.get_key(2, 2)), "commit_and_sign": _median(commit_and_sign)}


def noble() -> dict[str, float]:
    """The same of `@noble/curves`, by the program beside this file."""
    program = shutil.which("node")
    if program is None:
        msg = "nodejs must be installed: one of the peers is a JavaScript library"
        raise RuntimeError(msg)
    if not (_PACKAGES / "node_modules").exists():
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=_PACKAGES, check=True)
    told = subprocess.run([program, ROOT / "bench" / "noble.js"], check=True, capture_output=True).stdout
    return {name: median(samples) for name, samples in json.loads(told).items()}


def _median(act: Callable[[], object]) -> float:
    samples = []
    for _ in range(_CALLS):
        start = perf_counter()
        act()
        samples.append((perf_counter() - start) * 1e6)
    return median(samples)
