"""What holds on PostgreSQL alone: writers side by side, a server of its own, roles."""

from __future__ import annotations

import logging

import pytest

from conformance.custody.house import HYBRID, House
from icehouse.hsm.simulated.simulated import SimulatedHsm
from servers.postgresql import PostgresServer
from upkeep.scene import Scene


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The simulated HSM says once a vault that it is none; errors are what these tests look at."""
    caplog.set_level(logging.CRITICAL, logger="icehouse")


@pytest.fixture
def new_house(postgresql, tmp_path):
    """Vaults in schemas of their own, by custody."""
    built = []

    def make(arrangement=HYBRID, url: str = "") -> House:
        place = tmp_path / f"house-{len(built)}"
        built.append(House(place, arrangement, SimulatedHsm(), store_url=url or postgresql.new_url()))
        return built[-1]

    yield make
    for house in built:
        house.close()


@pytest.fixture
def house(new_house):
    """A hybrid vault."""
    return new_house()


@pytest.fixture
def new_scene(postgresql, tmp_path):
    """Vaults' directories, some users and devices, by custody."""
    made = []

    def make(custody: str, users: int = 12) -> Scene:
        made.append(Scene(tmp_path / f"{custody}-{len(made)}", custody, users, 0, postgresql.new_url()))
        return made[-1]

    yield make
    for scene in made:
        scene.close()


@pytest.fixture
def standby(postgresql):
    """A server that copies the other one, and commits wait for it when they are told to."""
    copy = PostgresServer(empty=True)
    source = f"host=127.0.0.1 port={postgresql.port} user=postgres application_name=standby"
    copy.run("pg_basebackup", "-D", str(copy.data), "-R", "-d", source, "--checkpoint=fast", "--no-sync")
    copy.start()
    yield copy
    copy.close()
