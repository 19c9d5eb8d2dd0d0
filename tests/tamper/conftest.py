"""Worlds to tamper with: one for each state a key can be in, put back after every test."""

from __future__ import annotations

import logging

import pytest

from tamper.world import STATES, World


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The simulated HSM says once a vault that it is none; errors are what these tests look at."""
    caplog.set_level(logging.ERROR, logger="icehouse")


@pytest.fixture(scope="session")
def worlds(tmp_path_factory):
    """A vault for each state, with what its database held when it got there."""
    made = {}
    for state in STATES:
        world = World(tmp_path_factory.mktemp(state)).bring_to(state)
        made[state] = (world, world.snapshot())
    yield made
    for world, _ in made.values():
        world.close()


@pytest.fixture
def world(tmp_path):
    """A vault of this test's own."""
    own = World(tmp_path / "own")
    yield own
    own.close()
