"""10,000 users move from one SoftHSM token to another while they are served, and the old token is destroyed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from consenting import trimmed
from icehouse import Device
from icehouse.service import FrostService
from icehouse.store import data_keys
from icehouse.upkeep.move_hsm import move, settle
from icehouse.vault import settings
from icehouse.vault.opening import create_vault
from upkeep.scene import check, keys_in, keys_needed

PASSPHRASE = "correct horse"  # noqa: S105  as `serving.py` has it

USERS = 10_000
# Where the move is killed: early on at any primitive, then at the n-th operation on a data key.
KILLS = [("any", 9), ("any", 15), ("any", 21), ("any", 30), *[("data-key", number) for number in (1, 2, 4, 6, 7, 8)]]


class Serving:
    """The process of `serving.py`."""

    def __init__(self, vault: Path, devices: Path, count: int) -> None:
        script = Path(__file__).with_name("serving.py")
        command = [sys.executable, "-W", "error", str(script), str(vault), str(devices), str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told = self.read()

    def read(self) -> dict[str, object]:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def next(self) -> dict[str, object]:
        """Tell it to go on with what it does next; what it did until now."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()

    def end(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait() == 0


_NUMBERS = count(1)


@pytest.fixture
def place(softhsm, killer, tmp_path):
    """A vault of 10,000 users on a token, and another token."""
    vault = tmp_path / "vault"
    vault.mkdir()
    number = next(_NUMBERS)  # one directory has every test's tokens
    old, new = softhsm.new_token(f"old-{number}"), softhsm.new_token(f"new-{number}")
    (vault / "vault.toml").write_text(f'[store]\nurl = "sqlite:///vault.db"\n[hsm]\nuri = "{old.uri}"\n')
    FrostService(create_vault(settings.load(vault), "hybrid")).close()
    killer.done("create", vault, users=[f"user-{number}" for number in range(USERS)])
    return vault, old, new


def test_ten_thousand_users_move_to_another_token_while_they_are_served(killer, place, tmp_path):
    vault, old, new = place
    devices = tmp_path / "devices"
    devices.mkdir()
    serving = Serving(vault, devices, 24)
    spent = 0

    for kind, at in KILLS:
        outcome = killer.run("move", vault, uri=new.uri, at=at, of=kind)
        spent += outcome.on_data_keys
        assert outcome.killed, outcome
    spent += killer.done("move", vault, uri=new.uri).on_data_keys
    with FrostService.open(vault) as frost:
        count = len(data_keys.counts(frost.vault.store.database))
        assert count >= 2 * -(-USERS // 1024)
        assert spent <= 3 * count + 3 * len(KILLS)

    told = serving.next()
    assert told["errors"] == []
    assert told["rotated"] > 0
    assert len(told["devices"]) > 24, "nobody was enrolled meanwhile"
    killer.done("trim", vault)
    settle(vault)
    shutil.rmtree(old.directory)
    assert serving.next()["errors"] == []
    serving.end()
    with FrostService.open(vault) as frost:
        check(frost, USERS)
        assert keys_in(frost) == keys_needed(frost)
        for user in told["devices"]:
            with Device.open(devices / user, PASSPHRASE) as device:
                device.sign(frost, b"on the new token")


def test_a_process_that_slept_while_the_vault_moved_goes_on_when_the_old_token_is_gone(place):
    vault, old, new = place
    with FrostService.open(vault) as sleeper:
        device = Device.create("user-7")
        device.enrol(sleeper, sleeper.enrolment_code("user-7"))
        move(vault, new.uri)
        with FrostService.open(vault) as frost:
            trimmed(frost)
        settle(vault)
        shutil.rmtree(old.directory)
        device.rotate(sleeper)
        device.sign(sleeper, b"on the new token")

        assert device.epoch == 2
