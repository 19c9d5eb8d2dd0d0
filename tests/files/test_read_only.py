"""A directory that may not be written: a device in it shows itself and signs, and changes nothing."""

from __future__ import annotations

import shutil

import pytest

from executable import Shell

CLOSED = 0o500


@pytest.fixture(scope="module")
def _made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("made")
    shell = Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")})
    shell.do("init")
    shell.do("users", "create", "alice")
    (directory / "closed").mkdir()
    shell.do("device", "enrol", "alice", "--device", "closed/alice.device", "--token-file", shell.token("alice"))
    return directory


@pytest.fixture(params=["with a lock", "without a lock"])
def shell(request, _made, tmp_path) -> Shell:
    """A vault that may be written, and alice's device in a directory that may not."""
    directory = tmp_path / "place"
    shutil.copytree(_made, directory)
    if request.param == "without a lock":
        (directory / "closed" / ".alice.device.lock").unlink()
    (directory / "closed").chmod(CLOSED)
    yield Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")}).without("dac_override")
    (directory / "closed").chmod(0o700)


def test_a_device_shows_itself_and_signs(shell):
    before = shell.contents()["closed/alice.device"]
    shown = shell.do("show", "--device", "closed/alice.device", "--format", "json").json
    shell.do("sign", "--text", "x", "--device", "closed/alice.device")

    assert shown["epoch"] == 1
    assert shell.contents()["closed/alice.device"] == before


def test_a_rotation_is_refused_before_anything_is_asked_of_the_vault(shell):
    for command in (("rotate",), ("sign", "--text", "x")):
        if command[0] == "sign":
            shell.do("campaign", "start", "rotate")
        done = shell.run(*command, "--device", "closed/alice.device")
        assert done.code == 2
        assert "its directory may not be written" in done.errors[0]
        assert "icehouse: hint: " in done.err

    assert shell.do("show", "alice", "--format", "json").json["epoch"] == 1
