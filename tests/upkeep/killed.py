"""A process that forks children which do one verb each and die where they are told to.

One request a line: `{"do": …, "at": …, "of": …, …}`. Kill points are wrapped around real primitives here; icehouse
itself has no hook. Answers say whether the child was killed, and what it counted until then.
"""

from __future__ import annotations

import functools
import json
import mmap
import os
import signal
import sys
import warnings
from pathlib import Path

import alembic.command
import alembic.config  # noqa: F401  what a new database would import late
from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from consenting import destroyed, orphans_removed, trimmed
from icehouse.custody import HybridCustody
from icehouse.errors import FallbackWarning
from icehouse.hsm.pkcs11.pkcs11 import Pkcs11Hsm
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.service import FrostService
from icehouse.upkeep import move_hsm, recover, rewrap
from icehouse.vault import opening
from icehouse.vault import settings as vault_settings

KINDS = ("any", "data-key", "statement")
COUNTS = mmap.mmap(-1, 8 * len(KINDS))  # shared with the children: what they counted outlives them
KILL: dict[str, int] = {}


def point(kind: str = "any") -> None:
    """Count one point of a kind, and die there if it is the one."""
    place = 8 * KINDS.index(kind)
    count = int.from_bytes(COUNTS[place : place + 8], "little") + 1
    COUNTS[place : place + 8] = count.to_bytes(8, "little")
    if KILL.get(kind) == count:
        os.kill(os.getpid(), signal.SIGKILL)


def between(call, kind: str = "any"):
    """A call with a point before it and one after it."""

    @functools.wraps(call)
    def wrapped(*arguments, **named):
        point(kind)
        result = call(*arguments, **named)
        point()
        return result

    return wrapped


def wrap_primitives() -> None:
    """Points around every commit, every HSM operation and every renaming of a file."""
    for owner, names in (
        (DefaultDialect, ("do_commit",)),
        (SimulatedHsm, ("create_key", "destroy_key", "wrap", "unwrap", "mac", "keys")),
        (Pkcs11Hsm, ("create_key", "destroy_key", "wrap", "unwrap", "mac", "keys")),
        (Path, ("rename",)),
    ):
        for name in names:
            setattr(owner, name, between(getattr(owner, name)))
    event.listen(Engine, "before_cursor_execute", lambda *_: point("statement"))
    for name in ("wrap", "unwrap"):
        setattr(HybridCustody, name, between(getattr(HybridCustody, name), "data-key"))
    move_hsm.prove = not_counted(rewrap.prove)


def not_counted(call):
    """A start-up check: its operations on data keys are not those of the move."""

    def wrapped(*arguments):
        place = 8 * KINDS.index("data-key")
        before = COUNTS[place : place + 8]
        call(*arguments)
        COUNTS[place : place + 8] = before

    return wrapped


def verb(  # noqa: PLR0911  one return for each verb
    do: str, path: str, arguments: dict[str, object]
) -> object:
    """Do one thing with a vault, as a process of its own would."""
    place = Path(path)
    if do == "move":
        return move_hsm.move(place, str(arguments["uri"]))
    if do == "recover":
        settings = vault_settings.load(place)
        vault = opening.recover_vault(settings, bytes.fromhex(str(arguments["vault_id"])), int(arguments["buckets"]))
        entries = [recover.Listed.parse(row, "the list") for row in arguments["rows"]]
        return recover.recover(vault, entries, arguments["floor"], create_unknown=False).locked
    with FrostService.open(place) as frost:
        match do:
            case "create":
                return frost.create_users(arguments["users"]).created
            case "destroy":
                return destroyed(frost, str(arguments["user"])).destroyed
            case "trim":
                return len(trimmed(frost).root_keys)
            case "reseal":
                return frost.upkeep.reseal(arguments.get("data_keys")).moved
            case "convert":
                return frost.upkeep.convert_to_hybrid()
            case "rewrap":
                return frost.upkeep.rewrap()
            case "remove-orphans":
                return orphans_removed(frost)
    raise AssertionError(do)


def child(request: dict[str, object], answer: int) -> None:
    """Do the verb, and tell what came of it."""
    COUNTS[:] = bytes(len(COUNTS))
    if request.pop("at", None) is not None:
        KILL[str(request.pop("of"))] = int(request.pop("number"))
    try:
        told: dict[str, object] = {"done": verb(str(request.pop("do")), str(request.pop("path")), request)}
    except Exception as exc:  # noqa: BLE001  the test decides what an error means
        told = {"error": f"{type(exc).__name__}: {exc}"}
    os.write(answer, json.dumps(told).encode())
    os._exit(0)


def main() -> None:
    wrap_primitives()
    warnings.simplefilter("ignore", FallbackWarning)  # who takes the HSM away knows
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(request, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = json.loads(pipe.read() or b"{}")
        _, status = os.waitpid(pid, 0)
        counted = {kind: int.from_bytes(COUNTS[8 * at : 8 * at + 8], "little") for at, kind in enumerate(KINDS)}
        told |= {"status": os.waitstatus_to_exitcode(status), "counted": counted}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
