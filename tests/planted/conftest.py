"""Vaults of one database server or of files, all of them in one HSM: where a planted row does the most harm."""

from __future__ import annotations

import logging

import pytest

from conformance.custody.house import House
from icehouse.hsm._simulated import SimulatedHsm


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
