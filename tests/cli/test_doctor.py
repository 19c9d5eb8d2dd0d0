"""`icehouse doctor`: what is sound is called so, and what is not is named."""

from __future__ import annotations

import shutil

import pytest

from executable import refused


def test_a_sound_vault_has_no_findings(shell):
    shell.do("users", "create", "--count", "1100")
    shell.do("users", "code", "bob")
    found = shell.do("doctor", "--format", "json").json

    assert found["findings"] == []
    assert (found["users"], found["users_live"], found["users_dealt"]) == (1102, 1, 1101)
    assert found["hsm"] == "simulated: software token in a file"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE keys SET next_epoch = 9 WHERE user = 'alice'", "a record of 'alice' does not fit"),
        ("UPDATE keys SET suite = 9 WHERE user = 'alice'", "holds a value that icehouse never writes"),
        ("UPDATE keys SET user = 'eve' WHERE user = 'alice'", "'eve' does not fit its tags"),
        ("DELETE FROM claims", "does not fit its claim record"),
        ("UPDATE data_keys SET live = live + 1 WHERE number = 1", "data key 1 counts"),
        ("UPDATE data_keys SET used = 0 WHERE number = 2", "data key 2 counts 0 records ever"),
        ("DELETE FROM data_keys WHERE number = 1", "there is no data key 1 any more"),
        ("UPDATE data_keys SET wrapped = zeroblob(76) WHERE number = 1", "data key 1 does not open"),
    ],
)
def test_what_does_not_fit_is_named_and_the_rest_is_still_looked_at(shell, change, said):
    shell.sql(change)
    done = shell.run("doctor", "--format", "json")

    assert done.code == 2
    assert any(said in finding for finding in done.json["findings"])
    assert done.json["users"] == 2


def test_settings_that_the_hsm_did_not_see_are_named(shell):
    shell.sql("UPDATE vault SET seal = zeroblob(76)")

    assert "the vault's settings in the database were changed" in refused(shell, "doctor", code=2)


def test_a_root_key_that_is_missing_is_named(shell, empty):
    empty.do("init")
    shutil.copyfile(empty.vault / "hsm.token", shell.vault / "hsm.token")
    shutil.copyfile(empty.vault / "hsm.pin", shell.vault / "hsm.pin")

    assert "the HSM has no key" in refused(shell, "doctor", code=2)


def test_a_module_that_is_away_is_no_reason_for_a_traceback(shell):
    (shell.vault / "hsm.token").unlink()

    assert "icehouse: hint: is its disk mounted?" in refused(shell, "doctor", code=2)
