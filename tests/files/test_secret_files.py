"""PINs and passphrases in files that others can read are refused; where root's mount decides the mode, warned of."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from executable import PASSPHRASE, Shell, refused
from icehouse.errors import RequestError
from icehouse.files.secret_file import check_private
from icehouse.hsm import KeyKind, open_hsm

OPEN_TO_OTHERS = [0o604, 0o602, 0o640, 0o620, 0o660, 0o644, 0o666, 0o777]
USER = 4711
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture
def pin(tmp_path) -> Path:
    """A PIN's file of another user than root."""
    path = tmp_path / "pin"
    path.write_text("648219")
    if os.geteuid() == 0:
        os.chown(path, USER, USER)
    return path


@pytest.mark.parametrize("mode", OPEN_TO_OTHERS, ids=oct)
def test_a_pin_that_others_can_read_or_change_opens_no_module(pin, mode):
    uri = f"simulated:{pin.parent}/token?pin-source=file:{pin}"
    open_hsm(uri, create=True).create_key("key", KeyKind.AES)
    pin.chmod(mode)

    with pytest.raises(RequestError, match=f"PIN file {pin}: its mode is {mode:04o}") as caught:
        open_hsm(uri)
    assert caught.value.hint == f"make it private: chmod 600 {pin}"
    pin.chmod(0o400)
    assert [key.label for key in open_hsm(uri).keys("")] == ["key"]


def test_a_pin_that_others_can_read_opens_no_token(softhsm):
    token = softhsm.new_token("private")
    open_hsm(token.uri).close()
    if os.geteuid() == 0:
        os.chown(token.pin_file, USER, USER)
    token.pin_file.chmod(0o644)

    with pytest.raises(RequestError, match="PIN file"):
        open_hsm(token.uri)


@as_root
def test_a_file_of_roots_may_be_read_by_its_group_and_by_nobody_else(pin):
    os.chown(pin, 0, USER)
    pin.chmod(0o640)
    check_private(pin, "PIN file")
    for mode in (0o660, 0o644):
        pin.chmod(mode)
        with pytest.raises(RequestError, match=f"its mode is {mode:04o}"):
            check_private(pin, "PIN file")


@as_root
@pytest.mark.skipif(os.stat("/dev/shm").st_dev == os.stat("/").st_dev, reason="needs a mount")  # noqa: PTH116, S108
def test_a_file_of_roots_on_a_mount_of_its_own_is_warned_of_and_another_users_refused(caplog):
    path = Path(f"/dev/shm/icehouse-{secrets.token_hex(8)}")  # noqa: S108
    path.write_text("648219")
    try:
        path.chmod(0o444)
        check_private(path, "PIN file")
        assert f"PIN file {path}: its mode is 0444, which its mount decides" in caplog.text
        os.chown(path, USER, USER)
        with pytest.raises(RequestError, match="its mode is 0444"):
            check_private(path, "PIN file")
    finally:
        path.unlink()


def test_a_pipe_has_no_others():
    reading, writing = os.pipe()
    try:
        check_private(Path(f"/dev/fd/{reading}"), "PIN file")
    finally:
        os.close(reading)
        os.close(writing)


def test_a_token_that_an_agent_wrote_for_its_group_is_taken(pin):
    pin.chmod(0o640)
    check_private(pin, "token file", shared=True)
    for mode in (0o660, 0o644):
        pin.chmod(mode)
        with pytest.raises(RequestError, match="token file"):
            check_private(pin, "token file", shared=True)


def test_a_passphrase_that_others_can_read_is_refused_and_a_code_warned_of(tmp_path):
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")}, hidden={"ICEHOUSE_PASSPHRASE"})
    shell.do("init")
    shell.do("users", "create", "alice")
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    token = Path(shell.token("alice"))
    token.chmod(0o644)
    enrol = ("device", "enrol", "alice", "--device", "alice.device", "--token-file", token)
    with_file = ("--passphrase-file", "passphrase")
    (tmp_path / "passphrase").chmod(0o644)
    said = refused(shell, *enrol, *with_file)
    (tmp_path / "passphrase").chmod(0o600)

    assert "passphrase file passphrase: its mode is 0644" in said
    done = shell.do(*enrol, *with_file)
    assert f"enrolment token file {token}: its mode is 0644" in done.err
    assert done.err.count("its mode is") == 1
