"""opencryptoki's soft token, with its daemon: the page's row of it, and that `doctor` never locks it.

Part of `make soak`, not of `make test`: the daemon needs root and a mount namespace.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from executable import ICEHOUSE
from integration.pkcs11.tried import installed, row
from servers.tokens import library, written

BESIDE = Path(__file__).parents[2] / "servers" / "opencryptoki"
PIN = "648219"


def main() -> None:
    """Run it all beside the daemon, or as the part that the daemon is beside."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        uri = f"pkcs11:token=opencryptoki?module-path={library('pkcs11/libopencryptoki.so')}"
        right = f"{uri}&pin-source={written(PIN, directory)}"
        found = json.loads(beside(sys.executable, "-m", "integration.pkcs11.tried", right).splitlines()[-1])
        said = {"version": installed("opencryptoki")} | found
        if said != row("opencryptoki, soft token"):
            sys.exit(f"the page does not say so of opencryptoki: {said}")
        (directory / "wrong").mkdir()
        wrong = f"{uri}&pin-source={written('111111', directory / 'wrong')}"
        again = f"for turn in 1 2 3 4 5; do {ICEHOUSE} doctor --hsm '{wrong}' >&2 || true; done; pkcsconf -t -c 0"
        flags = next(line for line in beside("bash", "-c", again).splitlines() if "Flags" in line)
        if "USER_PIN_FINAL_TRY" not in flags or "USER_PIN_LOCKED" in flags:
            sys.exit(f"five runs of doctor with a wrong PIN left: {flags}")
    sys.stdout.write("opencryptoki: as the page says, and five wrong PINs do not lock it\n")


def beside(*command: str) -> str:
    """What a command says that runs beside the daemon and a new token."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n", "--preserve-env=PYTHONPATH"]
    done = subprocess.run([*as_root, BESIDE, PIN, *command], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
