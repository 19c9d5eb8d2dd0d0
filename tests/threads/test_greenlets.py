"""Greenlets under gevent's `monkey.patch_all()` are threads that only switch where they wait."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HANG = 600
"""Ten times what it takes on a slow machine."""


def test_256_greenlets_enrol_rotate_sign_and_create(place):
    script = Path(__file__).parent / "greenlets.py"
    done = subprocess.run([sys.executable, script, place], capture_output=True, text=True, timeout=HANG, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"epochs": [2] * 256, "opened": 512}
