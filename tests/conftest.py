"""What a whole test run has once."""

from __future__ import annotations

import os
import signal

import pytest

from servers.postgresql import PostgresServer
from softhsm import SoftHsm

# Files of PINs and passphrases that tests write are private, or they would be refused.
os.umask(0o077)


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory) -> SoftHsm:
    """The one SoftHSM of this process, which reads where its tokens are only once."""
    return SoftHsm(tmp_path_factory.mktemp("softhsm") / "here")


@pytest.fixture(scope="session")
def postgresql():
    """The one PostgreSQL server of this process; each test asks it for a database of its own."""
    server = PostgresServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """Ctrl-C reaches the commands that tests start, even where this run was itself started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
