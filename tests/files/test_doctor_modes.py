"""`icehouse doctor` looks at the modes of all in the vault's directory, and of what its settings name elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from executable import Shell
from icehouse.vault import settings
from icehouse.vault.exposure import exposures


@pytest.fixture(scope="module")
def _made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("made")
    Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")}).do("init")
    return directory


@pytest.fixture
def shell(_made, tmp_path) -> Shell:
    directory = tmp_path / "place"
    shutil.copytree(_made, directory)
    return Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")})


def warnings(shell, code=0):
    done = shell.run("doctor", "--format", "json")
    assert done.code == code, done.err
    for warning in done.json["warnings"]:
        assert f"warning: {warning}" in done.err
    return done.json["warnings"]


def test_a_vault_as_it_was_made_is_not_warned_of(shell):
    assert warnings(shell) == []


def test_what_others_can_read_or_change_is_named(shell):
    (shell.vault / "notes").mkdir()
    (shell.vault / "notes" / "codes").write_text("somebody's")
    shell.vault.chmod(0o777)
    (shell.vault / "vault.db").chmod(0o666)
    (shell.vault / "notes" / "codes").chmod(0o644)
    changeable, readable = warnings(shell)

    assert changeable.startswith("other users can change ")
    assert f"change {shell.vault}, {shell.vault}/vault.db" in changeable
    assert f"{shell.vault}/notes/codes" in readable
    assert f"{shell.vault}/vault.db" in readable
    assert "hsm.pin" not in changeable + readable


def test_a_pin_that_others_can_read_is_a_finding_and_a_warning(shell):
    (shell.vault / "hsm.pin").chmod(0o666)
    shown = warnings(shell, code=2)

    assert any(f"{shell.vault}/hsm.pin" in warning for warning in shown)
    assert "make it private: chmod 600" in shell.run("doctor").err


def test_files_elsewhere_that_the_settings_name_are_looked_at(shell):
    elsewhere = shell.directory / "else where"
    elsewhere.mkdir()
    for name in ("hsm.token", "vault.db"):
        (shell.vault / name).rename(elsewhere / name)
        (elsewhere / name).chmod(0o644)
    written = (shell.vault / "vault.toml").read_text()
    moved = written.replace("sqlite:///vault.db", f"sqlite:///{elsewhere}/vault.db")
    moved = moved.replace("simulated:hsm.token", f"simulated:{elsewhere}/hsm.token".replace(" ", "%20"))
    (shell.directory / "other.toml").write_text(moved.replace("file:hsm.pin", f"file:{shell.vault}/hsm.pin"))
    shell.environment["ICEHOUSE_VAULT"] = str(shell.directory / "other.toml")
    (shell.directory / "unrelated").touch(0o666)
    (readable,) = warnings(shell)

    assert f"{elsewhere}/hsm.token" in readable
    assert f"{elsewhere}/vault.db" in readable
    assert "unrelated" not in readable


def test_settings_may_be_read_by_others_unless_they_hold_a_password(shell):
    file = shell.vault / "vault.toml"
    file.chmod(0o644)
    plain = settings.load(shell.vault, {})
    locked = replace(plain, store_url="postgresql://icehouse:hunter2@db.example/vault")

    assert exposures(shell.vault, plain) == []
    (warning,) = exposures(shell.vault, locked)
    assert str(file) in warning
    assert "hunter2" not in warning
