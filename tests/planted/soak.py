"""Every value in every column under every command, or as many of these cases as the first argument says.

`make soak` runs it: `python -m planted.soak`. The tests of this directory run a few of them.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from planted.bends import Case, every_case
from planted.town import Town


def fault(town: Town, case: Case) -> str | None:
    """How a command ended that met this value, where that is no way in which icehouse ends; None where it is one."""
    town.anew()
    if not town.bend(case.table, case.column, case.value):
        return None
    done = town.run(*case.command)
    silent = case.command == ("exchange",) and done.code == 0 and len(done.out.splitlines()) != len(town.messages)
    return None if done.is_foreseen and not silent else done.err[-2000:] or f"exit code {done.code}"


def main() -> None:
    """Run cases, and end with what went wrong."""
    cases = every_case()[: int(sys.argv[1]) if len(sys.argv) > 1 else None]
    faults: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory:
        town = Town.build(Path(directory))
        for at, case in enumerate(cases, 1):
            words = fault(town, case)
            if words:
                faults[case.table] += 1
                sys.stdout.write(f"{case._replace(value=case.value[:60])}\n{words}\n")
            if at % 1000 == 0:
                sys.stdout.write(f"{at:,} of {len(cases):,} cases, {faults.total()} faults\n")
                sys.stdout.flush()
    sys.exit(f"faults by table: {dict(faults)}" if faults else 0)


if __name__ == "__main__":
    main()
