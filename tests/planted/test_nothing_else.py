"""The list of what destroys keys inside an HSM is whole: nothing else in icehouse asks an HSM to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import icehouse
from conformance.custody.house import ARRANGEMENTS, DIRECT, HYBRID, House
from icehouse.errors import HsmRefusedError
from icehouse.hsm import KeyKind
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.service import create_hsm_frost
from icehouse.upkeep import rewrap
from planted.destroying import campaign, keys_in

SOURCE = Path(icehouse.__file__).parent
ROOT = Path(__file__).parents[2]
CALLERS = {
    "vault/retiring.py": "destroy_root",
    "vault/opening.py": "_unmaking",
    "cli/five_users.py": "_destroy_keys",
}
"""Who asks an HSM to destroy a key: `trim`, `doctor` and `users destroy` by the first of these."""
PASSED_ON = {"campaigns/meter.py", "hsm/absent.py", "hsm/pkcs11/pkcs11.py"}
"""Who passes such a call on to another HSM, or to the module behind it."""


def callers():
    found = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "destroy_key":
                found.setdefault(str(path.relative_to(SOURCE)), []).append(node.lineno)
    return found


def test_every_call_that_destroys_is_on_the_list():
    assert set(callers()) - PASSED_ON == set(CALLERS)
    assert all(len(lines) == 1 for lines in callers().values())


def test_security_says_what_destroys_keys():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    section = text[text.index("## What destroys keys in an HSM") :]

    for command in ("trim --void-backups", "doctor --remove-orphans", "users destroy", "init", "cloudhsm", "demo"):
        assert re.search(rf"\b{command}\b", section), command


@pytest.mark.parametrize("arrangement", ARRANGEMENTS[:3], ids=str)
def test_campaigns_and_rewraps_ask_an_hsm_to_destroy_nothing(new_house, arrangement):
    house = new_house(arrangement)
    device = house.enrolled("alice")
    house.service.create_users(f"user-{number}" for number in range(4))

    def act():
        frost = house.service
        if arrangement not in {HYBRID, DIRECT}:
            frost.upkeep.convert_to_hybrid()
        rewrap.begin(frost.vault)
        campaign(frost, "rewrap")
        frost.upkeep.rewrap()
        for verb in ("reseal", "verify", "rotate"):
            campaign(frost, verb)
        house.sql("UPDATE keys SET due = 1")
        campaign(frost, "suspend")
        campaign(frost, "destroy", state="dealt")
        frost.create_users(["user-1"])
        frost.upkeep.trim()

    assert "destroy_key" not in house.operations(act)
    house.service.resume_user("alice")
    house.sign(device)


def test_a_creation_that_fails_destroys_what_it_made_and_nothing_else(tmp_path, monkeypatch):
    hsm = SimulatedHsm()
    house = House(tmp_path / "house", DIRECT, hsm)
    house.enrolled("alice")
    before = keys_in(house)
    made = []
    real = SimulatedHsm.create_key

    def full(self, label, kind):
        if made:
            msg = "there is no room for another key"
            raise HsmRefusedError(msg)
        made.append(label)
        return real(self, label, kind)

    monkeypatch.setattr(SimulatedHsm, "create_key", full)
    monkeypatch.setattr("icehouse.service.open_roots", lambda _: house.service.vault.custody.roots)
    with pytest.raises(HsmRefusedError, match="no room"):
        create_hsm_frost("simulated")

    assert made
    assert keys_in(house) == before
    assert {key.kind for key in hsm.keys("icehouse-")} == {KeyKind.AES}
    house.close()
