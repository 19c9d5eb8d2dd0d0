"""Vaults for campaigns: made once, copied for every test."""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack

import pytest

from campaigns.place import Place


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The simulated HSM says once a vault that it is none; errors are what these tests look at."""
    caplog.set_level(logging.ERROR, logger="icehouse")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Each kind of vault that was asked for, by custody and number of users."""
    known: dict[tuple[str, int], Place] = {}

    def make(custody: str, users: int) -> Place:
        if (custody, users) not in known:
            place = Place(tmp_path_factory.mktemp(f"{custody}-{users}") / "vault")
            place.found(custody, users)
            known[custody, users] = place
        return known[custody, users]

    return make


@pytest.fixture
def place_of(made, tmp_path):
    """A copy of a vault with so many users, four of them enrolled; closed with the test."""
    with ExitStack() as stack:

        def copy(custody: str = "hybrid", users: int = 2500) -> Place:
            directory = tmp_path / f"{custody}-{users}" / "vault"
            shutil.copytree(made(custody, users).directory, directory)
            place = Place(directory)
            stack.callback(place.close)
            return place

        yield copy
