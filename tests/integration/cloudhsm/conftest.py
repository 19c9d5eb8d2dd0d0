"""A module with CloudHSM's habits and a token behind it; AWS's control plane on loopback with a cluster in it."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pytest

from icehouse.hsm import Hsm, open_hsm
from servers.aws import REGION, World
from servers.cloudhsm import Hsm as HsmInCluster
from servers.cloudhsm_trial import OWNER
from servers.weather import Module, crypto_user, module

if TYPE_CHECKING:
    from pathlib import Path

_NUMBERS = count(1)


@dataclass
class Place:
    """A token behind the module."""

    module: Module
    label: str
    pin_file: Path

    def uri(self, profile: str | None = "cloudhsm", **more: str) -> str:
        query = {"profile": profile, "single-hsm": "1" if profile == "cloudhsm" else None} | more
        parts = [f"{name.replace('_', '-')}={value}" for name, value in query.items() if value is not None]
        where = f"module-path={self.module.path}&pin-source=file:{self.pin_file}"
        return f"pkcs11:token={self.label}?{'&'.join([where, *parts])}"


@pytest.fixture
def shim(softhsm):
    """The module, in fair weather."""
    made = module(softhsm.directory, "cloudhsm")
    made.weather.clear()
    yield made
    made.weather.clear()


@pytest.fixture
def place(shim, softhsm, tmp_path):
    token = softhsm.new_token(f"cloudhsm-{next(_NUMBERS)}")
    return Place(shim, token.label, crypto_user(token, tmp_path).pin_file)


@pytest.fixture
def opened(place):
    """Opens the token; whatever was opened is closed when the test ends."""
    with ExitStack() as stack:

        def opener(uri: str | None = None) -> Hsm:
            return stack.enter_context(closing(open_hsm(uri or place.uri())))

        yield opener


@pytest.fixture
def hsm(opened):
    return opened()


@pytest.fixture
def world(monkeypatch):
    made = World(tick=0)
    server = made.serve()
    made.url = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": OWNER,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def cluster(world):
    """An active cluster of two HSMs."""
    made = world.hsm.add_foreign({})
    made.hsms.append(HsmInCluster("hsm-second", "us-east-1b", "subnet-0000000b", "ACTIVE", 0))
    return made


@pytest.fixture
def config(place, world, cluster):
    """What `create_hsm_frost("aws", …)` takes."""
    return {
        "region": REGION,
        "cluster_id": cluster.cluster,
        "pin_source": str(place.pin_file),
        "module_path": str(place.module.path),
        "token_label": place.label,
        "endpoint": world.url,
    }
