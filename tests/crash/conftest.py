"""One process to fork all others from, and one scene after another."""

from __future__ import annotations

import pytest

from crash.processes import Nursery
from crash.scene import Scene


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    """Where workers come from."""
    own = Nursery(tmp_path_factory.mktemp("nursery"))
    yield own
    own.close()


@pytest.fixture
def scene(nursery, tmp_path):
    """A vault and a device to be."""
    own = Scene(nursery, tmp_path / "scene")
    own.directory.mkdir()
    yield own
    own.end()
