"""A vault that every test gets its own copy of."""

from __future__ import annotations

import shutil

import pytest

from executable import Shell


@pytest.fixture
def empty(tmp_path) -> Shell:
    """A place without a vault; `vault` in it is where one would be."""
    return Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})


@pytest.fixture(scope="session")
def _made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("made")
    shell = Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")})
    shell.do("init")
    shell.do("users", "create", "alice", "bob")
    shell.do("device", "enrol", "alice", "--device", "alice.device", "--token-file", shell.token("alice"))
    return directory


@pytest.fixture
def shell(_made, tmp_path) -> Shell:
    """A place with a vault of alice, who is enrolled with `alice.device`, and bob, who is not."""
    directory = tmp_path / "place"
    shutil.copytree(_made, directory)
    return Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")})
