"""`icehouse doctor`: what is sound is called so, and what is not is named."""

from __future__ import annotations

import json
import shutil

import pytest

from executable import Shell
from icehouse.hsm import KeyKind, open_hsm


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


def examined(shell, *options):
    """What doctor says of a vault that it cannot open: the database's part all the same, and what is wrong."""
    before = shell.contents()
    done = shell.run("doctor", "--format", "json", *options)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert shell.contents() == before
    assert done.json["users"] == 2
    return done


def test_settings_that_the_hsm_did_not_see_are_named(shell):
    shell.sql("UPDATE vault SET seal = zeroblob(76)")

    assert "the vault's settings in the database were changed" in examined(shell).err


def test_a_root_key_that_is_missing_is_named(shell, empty):
    empty.do("init")
    shutil.copyfile(empty.vault / "hsm.token", shell.vault / "hsm.token")
    shutil.copyfile(empty.vault / "hsm.pin", shell.vault / "hsm.pin")

    assert "no HSM that this process was told of has the key" in examined(shell).err


def test_a_module_that_is_away_is_no_reason_for_a_traceback(shell):
    (shell.vault / "hsm.token").unlink()
    done = examined(shell)

    assert json.loads(done.err.splitlines()[-1])["error"]["hint"].startswith("is its disk mounted?")
    assert [check["check"] for check in done.json["checks"] if check["ok"] is None] == ["credentials"]


def test_a_wrong_pin_is_told_from_an_hsm_that_is_away(shell):
    (shell.vault / "hsm.pin").write_text("another\n")
    wrong = [check["check"] for check in examined(shell).json["checks"] if check["ok"] is False]

    assert wrong == ["credentials"]


def test_each_root_key_is_tried_and_nothing_is_made(shell):
    before = shell.contents()
    done = shell.do("doctor", "--format", "json")
    checks = {check["check"]: check for check in done.json["checks"]}
    keys = [check for name, check in checks.items() if name.startswith("key icehouse-")]

    assert [check["ok"] for check in keys] == [True, True]
    assert all("not in another context" in check["detail"] for check in keys)
    assert "median" in checks["latency"]["detail"]
    assert shell.contents() == before


def test_the_table_shows_every_check(shell):
    lines = shell.do("doctor").out.splitlines()

    assert lines[lines.index("") + 1].split() == ["OK", "HSM", "CHECK", "DETAIL"]
    assert {line.split()[2] for line in lines[lines.index("") + 2 :]} >= {"reach", "credentials", "latency", "clock"}


def test_an_hsm_is_checked_before_there_is_a_vault(empty, shell):
    token = f"simulated:{shell.vault}/hsm.token?pin-source=file:{shell.vault}/hsm.pin"
    before = empty.contents(), shell.contents()
    checks = {
        check["check"]: check["ok"] for check in empty.do("doctor", "--hsm", token, "--format", "json").json["checks"]
    }

    assert checks["reach"] is checks["credentials"] is True
    assert checks["known answers"] is None
    assert (empty.contents(), shell.contents()) == before


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("simulated:none.token?pin-source=file:{vault}/hsm.pin", "none.token cannot be reached"),
        ("simulated:{vault}/hsm.token?pin-source=file:none.pin", "none.pin"),
        ("pkcs11:token=x?module-path=/nowhere.so&pin-source=file:{vault}/hsm.pin", "no PKCS#11 module"),
        ("nonsense:", "an HSM URI must start with one of"),
    ],
)
def test_an_hsm_that_does_not_open_is_named_before_there_is_a_vault(shell, uri, said):
    done = shell.run("doctor", "--hsm", uri.format(vault=shell.vault))

    assert done.code == 2
    assert said in done.err
    assert not (shell.directory / "none.token").exists()


def test_a_vault_that_fell_back_is_looked_at_as_far_as_it_goes(empty):
    (empty.directory / "f.pin").write_text("12345\n")
    empty.do("init", "--fallback", "simulated:f.token?pin-source=file:f.pin")
    empty.do("users", "create", "old")
    token = empty.vault / "hsm.token"
    token.rename(empty.directory / "away")
    created = empty.do("users", "create", "new")
    done = empty.run("doctor", "--format", "json")

    assert "icehouse: critical: ALARM: FALLING BACK TO SOFTWARE" in created.err
    assert created.err.count("FALLING BACK") == 1
    assert done.code == 2
    assert "the records of 1 users could not be opened: the HSM is away" in done.json["findings"]
    assert {check["hsm"] for check in done.json["checks"] if check["ok"] is False} == {"hsm"}
    (empty.directory / "away").rename(token)
    assert empty.do("rewrap", "--dry-run", "--format", "json").json == {"records_in_software": 2}
    assert empty.do("rewrap", "--format", "json").json == {"promoted": 1}
    assert empty.void_backups("--format", "json").code == 0
    (empty.directory / "f.token").unlink()
    assert empty.do("doctor", "--format", "json").json["in_software"] == 0


def test_root_keys_that_a_failed_init_left_on_a_token_are_listed_and_kept(empty, softhsm):
    token = softhsm.new_token("strays")
    hsm = open_hsm(token.uri)
    hsm.create_key("icehouse-not-one-of-ours", KeyKind.AES)
    empty.do("init", "--vault", "lost", "--hsm", token.uri)
    empty.do("init", "--hsm", token.uri)
    shutil.rmtree(empty.directory / "lost")
    before = sorted(key.label for key in hsm.keys("icehouse-"))
    here = {root["label"] for root in empty.do("doctor", "--format", "json").json["root_keys"]}
    done = empty.do("doctor", "--hsm", token.uri, "--format", "json")
    people = empty.do("doctor", "--hsm", token.uri)
    nowhere = Shell(empty.directory).do("doctor", "--hsm", token.uri, "--format", "json")

    assert len(here) == 2
    assert done.json["unknown_keys"] == sorted(set(before) - here - {"icehouse-not-one-of-ours"})
    assert len(done.json["unknown_keys"]) == 2
    assert "warning: no vault known here has these keys: icehouse-" in people.err
    assert nowhere.json["unknown_keys"] == sorted(set(before) - {"icehouse-not-one-of-ours"})
    assert sorted(key.label for key in hsm.keys("icehouse-")) == before
    hsm.close()


def test_root_keys_of_an_init_that_failed_in_the_database_are_listed(empty, softhsm, postgresql):
    token = softhsm.new_token("failed")
    postgresql.admin("CREATE ROLE powerless LOGIN")
    store = postgresql.new_url()
    postgresql.admin(f"GRANT USAGE ON SCHEMA {store.rpartition('%3D')[2]} TO powerless")
    failed = empty.run("init", "--hsm", token.uri, "--store", store.replace("postgres@", "powerless@"))
    done = empty.do("doctor", "--hsm", token.uri, "--format", "json")

    assert failed.code == 2
    assert [label.rpartition("-")[0].rpartition("-")[2] for label in done.json["unknown_keys"]] == ["claim", "kek"]
    assert "the same init again takes them up" in done.err
