"""A vault in a SQLite file, as an application with many threads opens it."""

from __future__ import annotations

import logging

import pytest

from icehouse import FrostService
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The simulated HSM says once a vault that it is none; errors are what these tests look at."""
    caplog.set_level(logging.ERROR, logger="icehouse")


@pytest.fixture
def place(tmp_path):
    """A vault's directory."""
    directory = tmp_path / "vault"
    make_vault(directory, Settings(STORE, MODULE), custody="hybrid", buckets=0)
    return directory


@pytest.fixture
def file(place):
    """The vault's database."""
    return place / "vault.db"


@pytest.fixture
def frost(place):
    """The vault, opened."""
    with FrostService.open(place) as opened:
        yield opened
