"""`icehouse recover`: a hierarchical vault whose database was deleted."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from executable import KILLED, Shell, all_refused, refused

HSM = "simulated:hsm/hsm.token?pin-source=file:hsm/hsm.pin"


@pytest.fixture(scope="module")
def _lost(tmp_path_factory):
    """The module, the list and alice's device are there; the vault is not. dave was destroyed, bob never claimed."""
    directory = tmp_path_factory.mktemp("lost")
    shell = Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")})
    made = shell.do("init", "--custody", "hierarchical", "--buckets", "3", "--format", "json").json
    shell.do("users", "create", "alice", "bob", "dave")
    shell.do("device", "enrol", "alice", "--device", "alice.device", "--token-file", shell.token("alice"))
    shell.do("users", "destroy", "dave", "--yes")
    (directory / "users.json").write_text(shell.do("users", "list", "--format", "json").out)
    (directory / "id").write_text(made["vault"])
    (directory / "hsm").mkdir()
    for name in ("hsm.token", "hsm.pin"):
        (shell.vault / name).rename(directory / "hsm" / name)
    shutil.rmtree(shell.vault)
    return directory


@pytest.fixture
def lost(_lost, tmp_path) -> Shell:
    directory = tmp_path / "place"
    shutil.copytree(_lost, directory)
    return Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")})


def command(shell, *more, users="users.json", vault_id=None, buckets="3"):
    own = vault_id or (shell.directory / "id").read_text()
    return ("recover", "--hsm", HSM, "--vault-id", own, "--users", users, "--buckets", buckets, *more)


def entries(shell) -> list[dict]:
    return json.loads((shell.directory / "users.json").read_text())


def write(shell, name: str, found: object) -> str:
    (shell.directory / name).write_text(json.dumps(found))
    return name


def test_devices_that_know_nothing_of_it_sign_and_rotate(lost):
    before = entries(lost)
    recovered = lost.do(*command(lost, "--floor", "5", "--format", "json")).json
    lost.do("sign", "--text", "x", "--device", "alice.device")
    lost.do("rotate", "--device", "alice.device")
    lost.do("sign", "--text", "x", "--device", "alice.device")
    after = lost.do("users", "list", "--format", "json").json

    assert recovered == {"live": 1, "locked": 1, "destroyed": 1}
    assert [entry["public_key"] for entry in after] == [entry["public_key"] for entry in before]
    assert lost.do("doctor", "--format", "json").json["findings"] == []
    assert lost.run("users", "code", "dave").code == 1


def test_a_key_whose_epoch_is_not_known_waits_for_a_new_code(lost):
    lost.do(*command(lost, "--floor", "5", "--forget-epochs"))
    locked = lost.run("sign", "--text", "x", "--device", "alice.device")
    token = lost.token("alice")
    again = lost.do("device", "enrol", "alice", "--device", "alice.device", "--token-file", token, "--format", "json")
    lost.do("sign", "--text", "x", "--device", "alice.device")

    assert locked.code == 1
    assert again.json["epoch"] > 5
    assert again.json["public_key"] == entries(lost)[0]["public_key"]


def test_a_wrong_list_makes_nothing(lost):
    alice, bob, dave = entries(lost)
    write(lost, "swapped.json", [alice | {"public_key": bob["public_key"]}, bob, dave])
    write(lost, "twice.json", [alice, bob, alice])
    write(lost, "field.json", [alice | {"colour": "red"}])
    write(lost, "shape.json", [alice | {"threshold": 3}])
    write(lost, "number.json", [alice | {"epoch": -1}])
    write(lost, "object.json", {"alice": alice})
    write(lost, "unknown.json", [alice, {"user": "eve"}])
    (lost.directory / "nonsense.json").write_text("[{")
    names = ("swapped", "twice", "field", "shape", "number", "object", "unknown", "nonsense", "missing")
    said = all_refused(lost, [command(lost, "--floor", "5", users=f"{name}.json") for name in names])

    assert "1 public keys of the list are not those derived: alice" in said[0]
    assert "names 'alice' twice" in said[1]
    assert "field.json: entry 1" in said[2]
    assert "--create-unknown" in said[6]


def test_wrong_facts_make_nothing(lost):
    said = all_refused(
        lost,
        [
            command(lost, "--floor", "5", buckets="4"),
            command(lost, "--floor", "5", vault_id="00" * 16),
            command(lost, "--floor", "5", vault_id="short"),
            command(lost, "--floor", "-1"),
            command(lost),
            command(lost, "--floor", "5", "--expected-users", "3000"),
        ],
    )

    assert "the number of buckets" in said[0]
    assert f"it has those of {(lost.directory / 'id').read_text()}" in said[1]
    assert "--floor N" in said[4]


def test_a_module_that_is_not_there_is_no_new_one(lost):
    (lost.directory / "hsm" / "hsm.token").unlink()

    refused(lost, *command(lost, "--floor", "5"), code=2)


def test_users_of_whom_nothing_is_known_are_made_only_when_asked(lost):
    write(lost, "more.json", [*entries(lost), {"user": "eve"}])
    recovered = lost.do(*command(lost, "--floor", "5", "--create-unknown", "--format", "json", users="more.json")).json

    assert recovered["locked"] == 2


def test_a_later_list_of_changes_takes_precedence(lost):
    alice, bob, dave = entries(lost)
    write(lost, "old.json", [alice | {"epoch": 9, "offer_id": "00" * 16}, bob, dave])
    write(lost, "changes.json", [alice])
    lost.do(*command(lost, "--floor", "5", "--users", "changes.json", users="old.json"))

    assert lost.run("sign", "--text", "x", "--device", "alice.device").code == 0


def test_no_vault_is_recovered_over_another(lost):
    lost.do(*command(lost, "--floor", "5"))
    elsewhere = command(lost, "--floor", "5", "--vault", "second", "--store", "sqlite:///vault/vault.db")

    assert "there is a vault already" in refused(lost, *command(lost, "--floor", "5"))
    assert "holds a vault already" in refused(lost, *elsewhere)


def test_whenever_it_is_killed_the_same_command_again_finishes_it(lost):
    (lost.directory / "killed.py").write_text(KILLED)
    codes: list[int] = []
    for step in range(1, 20):
        place = f"vault{step}"
        codes.append(lost.script("killed.py", step, *command(lost, "--floor", "5", "--vault", place)).code)
        if codes[-1] == 0:
            break
        if not (lost.directory / place / "vault.toml").exists():
            lost.do(*command(lost, "--floor", "5", "--vault", place))
        assert not list((lost.directory / place).glob("*unfinished*"))

    assert codes[-1] == 0
    assert len(codes) > 3
    assert set(codes[:-1]) == {-signal.SIGKILL}


def test_an_interrupted_one_is_not_finished_with_another_list(lost):
    (lost.directory / "killed.py").write_text(KILLED)
    lost.script("killed.py", 3, *command(lost, "--floor", "5"))

    assert "another list" in refused(lost, *command(lost, "--floor", "6"))
