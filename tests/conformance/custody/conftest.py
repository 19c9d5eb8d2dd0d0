"""The tests of this folder run under every custody, on every module that a test run has."""

from __future__ import annotations

import logging

import pytest

from conformance.custody.house import ARRANGEMENTS, House
from icehouse.hsm import open_hsm
from icehouse.hsm.simulated.simulated import SimulatedHsm

MODULES = ("simulated", "softhsm")
ON_POSTGRESQL = "simulated-postgresql"
"""The same simulated HSM beside the other database."""
_made = iter(range(1, 10_000))


def pytest_generate_tests(metafunc):
    """A test that asks for a `house` is made for each custody, and each module unless it names one."""
    if "build" not in metafunc.fixturenames:
        return
    kinds = [mark.args for mark in metafunc.definition.iter_markers("on")]
    on_both = metafunc.module.__name__.endswith("test_ceremonies")
    modules = kinds[0] if kinds else MODULES + ((ON_POSTGRESQL,) if on_both else ())
    metafunc.parametrize("module", modules, scope="function")
    if "arrangement" in metafunc.fixturenames:
        only = [mark.args for mark in metafunc.definition.iter_markers("under")]
        metafunc.parametrize("arrangement", only[0] if only else ARRANGEMENTS, ids=str)


def pytest_configure(config):
    config.addinivalue_line("markers", "on(*modules): only on these modules")
    config.addinivalue_line("markers", "under(*arrangements): only under these custodies")


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The simulated HSM says once a vault that it is none; errors are what these tests look at."""
    caplog.set_level(logging.ERROR, logger="icehouse")


@pytest.fixture
def build(request, tmp_path, module):
    """Makes vaults on one module, each on an HSM of its own."""
    built = []

    def make(arrangement, **options):
        place = tmp_path / f"house-{len(built)}"
        if module == "simulated":
            house = House(place, arrangement, SimulatedHsm(), **options)
        elif module == ON_POSTGRESQL:
            url = request.getfixturevalue("postgresql").new_url()
            house = House(place, arrangement, SimulatedHsm(), store_url=url, **options)
        else:
            token = request.getfixturevalue("softhsm").new_token(f"custody-{next(_made)}")
            house = House(place, arrangement, open_hsm(token.uri), token, **options)
        built.append(house)
        return house

    yield make
    for house in built:
        house.close()


@pytest.fixture
def house(build, arrangement):
    """A vault of the custody that the test runs under."""
    return build(arrangement)
