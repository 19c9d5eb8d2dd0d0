"""Vaults that share an HSM, where a planted row does the most harm; and a vault with something in every table."""

from __future__ import annotations

import logging

import pytest

from conformance.custody.house import House
from icehouse.hsm.simulated.simulated import SimulatedHsm
from planted.town import Town


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The simulated HSM says once a vault that it is none; errors are what these tests look at."""
    caplog.set_level(logging.ERROR, logger="icehouse")


@pytest.fixture(params=["sqlite", "postgresql"])
def new_house(request, tmp_path):
    """Makes vaults that share an HSM, each with a database of its own."""
    hsm, built = SimulatedHsm(), []

    def make(arrangement) -> House:
        url = request.getfixturevalue("postgresql").new_url() if request.param == "postgresql" else ""
        built.append(House(tmp_path / f"house-{len(built)}", arrangement, hsm, store_url=url))
        return built[-1]

    yield make
    for house in built:
        house.close()


@pytest.fixture(scope="session")
def _built(tmp_path_factory):
    return Town.build(tmp_path_factory.mktemp("town"))


@pytest.fixture
def town(_built):
    """The vault as it was made."""
    _built.anew()
    return _built
