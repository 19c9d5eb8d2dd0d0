"""The tests of this folder run on every provider that can be made to do what a test asks."""

from __future__ import annotations

import pytest

from conformance.hsm.adapters import ADAPTERS, MODULES, Can


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(*can): only for providers that can be made to do this")


def pytest_generate_tests(metafunc):
    """A test that asks for `adapter` or `hsm` is made for each provider; `needs` leaves out those who cannot."""
    if "adapter" not in metafunc.fixturenames:
        return
    needed = {need for mark in metafunc.definition.iter_markers("needs") for need in mark.args}
    assert needed <= set(Can)
    fitting = [adapter for adapter in (*ADAPTERS, *MODULES) if needed <= adapter.can]
    assert fitting, f"no provider can {needed}"
    metafunc.parametrize("adapter", fitting, ids=[adapter.name for adapter in fitting], indirect=True)


@pytest.fixture
def adapter(request, tmp_path):
    """A module made for this test."""
    made = request.param(tmp_path, lambda: request.getfixturevalue("softhsm"))
    yield made
    made.clean()


@pytest.fixture
def hsm(adapter):
    """The module, open."""
    return adapter.open()
