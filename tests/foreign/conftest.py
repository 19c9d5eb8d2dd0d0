"""A vault that outlives a process, and a device in another language to speak with it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from icehouse import FrostService
from icehouse.custody import RootKeys
from icehouse.hsm import open_hsm
from icehouse.vault.opening import create_vault
from icehouse.vault.settings import load

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def node():
    """Node with the locked packages installed."""
    program = shutil.which("node")
    assert program, "nodejs must be installed: a foreign device is one in JavaScript"
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    with lock.open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # tests run in several processes, and one installation is enough
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(command, cwd=HERE, check=True, timeout=300)
            installed.touch()
    return program


@pytest.fixture
def vault(tmp_path):
    """The directory of a vault with a simulated HSM in a file."""
    (tmp_path / "pin").write_text("a PIN for trying\n")
    hsm = "simulated:hsm.age?pin-source=file:pin"
    (tmp_path / "vault.toml").write_text(f'[store]\nurl = "sqlite:///vault.db"\n[hsm]\nuri = "{hsm}"\n')
    settings = load(tmp_path)
    token = open_hsm(settings.hsm_uri, create=True)
    FrostService(create_vault(settings, "hybrid", RootKeys(token, token))).close()
    return tmp_path


@dataclass(frozen=True)
class ForeignDevice:
    """A device whose every run is a process of its own: all it remembers is its file."""

    node: str
    vault: Path
    state: Path

    def run(self, *steps, stop_after=None):
        """Do these steps in one process; `stop_after` names the durable step after which it ends."""
        cosigner = [str(Path(sys.executable).with_name("icehouse")), "exchange", "--vault", str(self.vault)]
        environment = os.environ | ({"STOP_AFTER": stop_after} if stop_after else {})
        done = subprocess.run(
            [self.node, str(HERE / "main.js"), str(self.state), *steps, "--", *cosigner],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def foreign_device(node, vault):
    """A device that holds nothing yet, and the vault it will speak with."""
    return ForeignDevice(node, vault, vault / "device.json")
