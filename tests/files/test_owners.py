"""Run once as root: what a command writes stays its owner's, and what is its owner's stays usable by him."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from executable import Shell
from icehouse.errors import ConflictError
from icehouse.trial_cluster.record import Notebook
from icehouse.vault import settings
from icehouse.vault.init import MODULE, STORE
from icehouse.vault.settings import Settings

USER, GROUP = 4711, 4712

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture(scope="module")
def _made():
    with TemporaryDirectory(prefix="icehouse-owners-") as directory:  # pytest's own are closed to others
        shell = Shell(Path(directory) / "made", {"ICEHOUSE_VAULT": f"{directory}/made/vault"})
        Path(directory).chmod(0o755)
        shell.directory.mkdir()
        shell.do("init")
        shell.do("users", "create", "alice")
        shell.do("device", "enrol", "alice", "--device", "alice.device", "--token-file", shell.token("alice"))
        for lock in (".alice.device.lock", "vault/hsm.token.lock", "vault/vault.db-wal", "vault/vault.db-shm"):
            (shell.directory / lock).unlink(missing_ok=True)
        yield Path(directory)


@pytest.fixture
def place(_made, request) -> Shell:
    """A vault and an enrolled device that were made by root, and then given to another user with all they need."""
    directory = _made / request.node.name
    shutil.copytree(_made / "made", directory)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, USER, GROUP)
    return Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")})


def as_user(shell: Shell) -> Shell:
    """The same place for its owner."""
    ids = ("setpriv", f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups")
    return Shell(shell.directory, shell.environment, ids)


def strangers(shell: Shell) -> set[str]:
    return {
        str(path.relative_to(shell.directory))
        for path in shell.directory.rglob("*")
        if (path.stat().st_uid, path.stat().st_gid) != (USER, GROUP)
    }


def test_what_root_rotates_and_rewraps_stays_its_owners_and_serves_him(place):
    place.do("rotate", "--device", "alice.device")
    place.do("rewrap")

    assert strangers(place) == set()
    as_user(place).do("rotate", "--device", "alice.device")
    assert place.do("show", "alice", "--format", "json").json["epoch"] == 3
    assert strangers(place) == set()


def test_settings_that_root_rewrites_keep_owner_group_and_mode(place):
    file = place.vault / "vault.toml"
    file.chmod(0o640)
    settings.rewrite(file, Settings(STORE, MODULE, cache_keys=7), settings.read(file))

    status = file.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (USER, GROUP, 0o640)


def test_what_root_notes_of_a_trial_stays_its_owners(tmp_path):
    notebook = Notebook(tmp_path / "run")
    with notebook.held():
        notebook.keep("kept", b"first")
    for path in (tmp_path / "run", tmp_path / "run" / "kept"):
        os.chown(path, USER, GROUP)
    (tmp_path / "run" / ".lock").unlink()
    with notebook.held():
        notebook.keep("kept", b"second")

    assert {path.stat().st_uid for path in (tmp_path / "run").iterdir()} == {USER}


def test_a_file_whose_owner_cannot_be_kept_is_not_replaced(place):
    device = place.directory / "alice.device"
    os.chown(device, USER + 1, GROUP)
    device.chmod(0o644)
    before = device.read_bytes()
    done = as_user(place).run("rotate", "--device", "alice.device")

    assert done.code != 0
    assert f"belongs to user {USER + 1}" in done.err
    assert device.read_bytes() == before
    assert not list(place.directory.glob(".alice.device.*"))


def test_a_lock_that_root_left_is_named_to_whom_it_keeps_out(place):
    lock = place.directory / ".alice.device.lock"
    lock.touch(0o600)
    done = as_user(place).run("sign", "--text", "x", "--device", "alice.device")

    assert done.code == 1
    assert f"{lock}: Permission denied" in done.err
    assert "must belong to whoever opens it" in done.err


def test_one_who_makes_a_file_in_a_directory_of_another_is_no_reason_to_refuse(tmp_path):
    os.chown(tmp_path, USER, GROUP)
    notebook = Notebook(tmp_path / "run")
    with notebook.held():
        notebook.keep("kept", b"first")
        with pytest.raises(ConflictError), Notebook(tmp_path / "run").held():
            pass

    assert (tmp_path / "run" / "kept").read_bytes() == b"first"
