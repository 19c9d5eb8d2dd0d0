"""Everything may be logged here: the tests look for what must not be in it."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def loud(caplog):
    """Every logger of this process, at every level, SQLAlchemy's statements and their values included."""
    caplog.set_level(logging.NOTSET)
    for name in ("icehouse", "icehouse.hsm", "sqlalchemy.engine", "sqlalchemy.pool", "alembic"):
        caplog.set_level(1, logger=name)
