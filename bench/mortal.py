"""Workers on a campaign that are killed at random statements while their HSM fails: who kills is this process.

It forks workers, each with a statement at which it dies, and forks others in their place until so many have died;
then it lets the rest come to the end. icehouse itself has no hook.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from icehouse.campaigns.worker import WorkerPool
from icehouse.errors import HsmUnavailableError, IcehouseError
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.service import FrostService

_PATIENCE = 1
_GAVE_UP = 3
_FAULTY = 0.05


def die_at(statement: int) -> None:
    """Let this process be killed before its n-th statement of SQL."""
    seen = 0

    def count(*_: Any) -> None:  # noqa: ANN401  the event's own
        nonlocal seen
        seen += 1
        if seen == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", count)


def fail_sometimes(draw: random.Random, rate: float) -> None:
    """Let the simulated HSM be away for a part of all calls."""
    admitted = SimulatedHsm._admitted  # noqa: SLF001  the one way in

    def doubtful(hsm: SimulatedHsm, operation: Any) -> Any:  # noqa: ANN401
        if draw.random() < rate:
            msg = "the HSM is away for a moment"
            raise HsmUnavailableError(msg)
        return admitted(hsm, operation)

    SimulatedHsm._admitted = doubtful  # type: ignore[method-assign]  # noqa: SLF001


def work(directory: Path, campaign: int, threads: int, seed: int, statement: int) -> None:
    """One worker's life."""
    draw = random.Random(seed)  # noqa: S311  the same kills every time
    logging.getLogger("icehouse").setLevel(logging.CRITICAL)
    try:
        # The vault is opened while the HSM answers: what happens later is what counts.
        with FrostService.open(directory) as service:
            if statement:
                die_at(statement)
            fail_sometimes(draw, _FAULTY)
            WorkerPool(service.vault, threads, campaign=campaign, patience=_PATIENCE).run()
    except IcehouseError:
        os._exit(_GAVE_UP)
    os._exit(0)


def main() -> None:
    """Kill so many workers, then let the campaign end; what happened, as JSON."""
    directory, campaign = Path(sys.argv[1]), int(sys.argv[2])
    kills, workers, threads, seed, farthest = map(int, sys.argv[3:8])
    draw = random.Random(seed)  # noqa: S311
    alive: set[int] = set()
    killed = gave_up = born = 0
    ended = False
    while alive or not ended:
        while len(alive) < workers and not ended:
            born += 1
            statement = draw.randint(1, farthest) if killed + len(alive) < kills else 0
            pid = os.fork()
            if pid == 0:
                work(directory, campaign, threads, seed * 1000 + born, statement)
            alive.add(pid)
        pid, status = os.wait()
        alive.discard(pid)
        match os.waitstatus_to_exitcode(status):
            case 0:
                ended = True
            case code if code == -signal.SIGKILL:
                killed += 1
            case code if code == _GAVE_UP:
                gave_up += 1
            case code:
                sys.exit(f"a worker ended with {code}")
    print(json.dumps({"killed": killed, "gave_up": gave_up, "born": born}))


if __name__ == "__main__":
    main()
