"""An AWS KMS on loopback for each test, and keys in it."""

from __future__ import annotations

from contextlib import closing

import pytest

from icehouse._core import DataKey
from icehouse.hsm import open_hsm
from integration.awskms.calls import AUDIT, CONTEXT, KEK, MASTER
from servers.awskms import AwsKmsServer


@pytest.fixture
def server():
    made = AwsKmsServer()
    yield made
    made.close()


@pytest.fixture
def hsm(server):
    with closing(open_hsm(server.uri)) as opened:
        yield opened


@pytest.fixture
def wrapped(hsm):
    """Keys of all kinds, and a data key that one of them wrapped."""
    for key in (KEK, MASTER, AUDIT):
        hsm.create_key(key.label, key.kind)
    return hsm.wrap(KEK, DataKey.random(), CONTEXT)
