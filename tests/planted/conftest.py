"""A vault with something in every table."""

from __future__ import annotations

import pytest

from planted.town import Town


@pytest.fixture(scope="session")
def _built(tmp_path_factory):
    return Town.build(tmp_path_factory.mktemp("town"))


@pytest.fixture
def town(_built):
    """The vault as it was made."""
    _built.anew()
    return _built
