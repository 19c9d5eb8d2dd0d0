"""A mount for each test, and keys in it."""

from __future__ import annotations

from contextlib import closing

import pytest

from icehouse._core import DataKey
from icehouse.hsm import open_hsm
from integration.openbao.calls import AUDIT, CONTEXT, KEK, MASTER, Place


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.front.stop()


@pytest.fixture
def hsm(place):
    with closing(open_hsm(place.uri())) as opened:
        yield opened


@pytest.fixture
def wrapped(hsm):
    """Keys of all kinds, and a data key that one of them wrapped."""
    for key in (KEK, MASTER, AUDIT):
        hsm.create_key(key.label, key.kind)
    return hsm.wrap(KEK, DataKey.random(), CONTEXT)
