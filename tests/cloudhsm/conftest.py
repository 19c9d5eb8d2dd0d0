"""An AWS account on loopback, with things in it that are not ours, and places to run `icehouse cloudhsm` in."""

from __future__ import annotations

import os

import pytest

from executable import Shell
from servers.aws import REGION, World
from servers.cloudhsm_trial import FOREIGN, OWNER, Place


@pytest.fixture
def world():
    made = World()
    server = made.serve()
    made.url = f"http://127.0.0.1:{server.server_port}"
    made.strangers = FOREIGN.put_into(made)
    yield made
    server.shutdown()
    server.server_close()
    assert made.strangers == FOREIGN.found_in(made), "something that is not ours was touched"


@pytest.fixture
def variables(world):
    return {
        "AWS_ENDPOINT_URL": world.url,
        "AWS_ACCESS_KEY_ID": OWNER,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@pytest.fixture
def place(world, variables, tmp_path, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Place(world, tmp_path / "cloudhsm")


@pytest.fixture
def shell(variables, tmp_path):
    """The real command, in an environment that knows the account and nothing else."""
    return Shell(tmp_path, variables)
