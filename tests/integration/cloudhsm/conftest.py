"""A module with CloudHSM's habits and a token behind it; AWS's control plane on loopback with a cluster in it."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pytest

from icehouse.hsm import Hsm, open_hsm
from servers.cloudhsm_trial import ControlPlane
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
def control():
    """AWS's control plane, with an active cluster of two HSMs."""
    made = ControlPlane()
    yield made
    made.stop()


@pytest.fixture
def world(control):
    return control.world


@pytest.fixture
def cluster(control):
    return control.cluster


@pytest.fixture
def config(place, control):
    """What `create_hsm_frost("aws", …)` takes."""
    token = {"module_path": str(place.module.path), "token_label": place.label, "pin_source": str(place.pin_file)}
    return token | control.config
