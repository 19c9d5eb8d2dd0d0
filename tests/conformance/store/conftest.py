"""The tests of this folder run on both databases, and say the same of both."""

from __future__ import annotations

import logging

import pytest

from conformance.custody.house import HYBRID, House
from icehouse.hsm.simulated.simulated import SimulatedHsm

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The simulated HSM says once a vault that it is none; errors are what these tests look at."""
    caplog.set_level(logging.ERROR, logger="icehouse")


@pytest.fixture(params=BACKENDS)
def new_url(request, tmp_path):
    """Where a new database may be made, on this backend."""
    made = iter(range(100))

    def make() -> str:
        if request.param == "postgresql":
            return request.getfixturevalue("postgresql").new_url()
        return f"sqlite:///{tmp_path}/vault-{next(made)}.db"

    return make


@pytest.fixture
def new_house(new_url, tmp_path):
    """Vaults on this backend, by custody."""
    built = []

    def make(arrangement=HYBRID) -> House:
        place = tmp_path / f"house-{len(built)}"
        built.append(House(place, arrangement, SimulatedHsm(), store_url=new_url()))
        return built[-1]

    yield make
    for house in built:
        house.close()


@pytest.fixture
def house(new_house):
    """A hybrid vault on this backend."""
    return new_house()
