"""What the tests of a vault's upkeep share."""

from __future__ import annotations

import logging

import pytest

from upkeep.killing import Killer
from upkeep.scene import Scene


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The simulated HSM says once a vault that it is none; errors are what these tests look at."""
    caplog.set_level(logging.ERROR, logger="icehouse")


@pytest.fixture(scope="session")
def killer(softhsm, tmp_path_factory):
    """Where processes come from that may be killed; they see the same SoftHSM."""
    assert softhsm.tokens.exists()
    own = Killer(tmp_path_factory.mktemp("killer") / "stderr")
    yield own
    own.close()


@pytest.fixture
def new_scene(tmp_path):
    """Vaults with some users and devices, by custody."""
    made = []

    def make(custody: str, users: int = 12, buckets: int = 0, **settings: object) -> Scene:
        made.append(Scene(tmp_path / f"{custody}-{len(made)}", custody, users, buckets, **settings))
        return made[-1]

    yield make
    for scene in made:
        scene.close()
