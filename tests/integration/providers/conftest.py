"""The tests of this folder run on every provider, by the adapters of the conformance suite."""

from __future__ import annotations

from conformance.hsm.adapters import ADAPTERS, Pkcs11InWeather
from conformance.hsm.conftest import adapter, pytest_configure

__all__ = ["adapter", "pytest_configure"]
EVERY = (*ADAPTERS, Pkcs11InWeather)


def pytest_generate_tests(metafunc):
    """A test that asks for `adapter` is made for each provider; `needs` leaves out those that cannot."""
    if "adapter" in metafunc.fixturenames:
        needed = {need for mark in metafunc.definition.iter_markers("needs") for need in mark.args}
        fitting = [each for each in EVERY if needed <= each.can]
        metafunc.parametrize("adapter", fitting, ids=[each.name for each in fitting], indirect=True)
