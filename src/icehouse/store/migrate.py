"""Bringing a database to the schema this version knows, with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from icehouse.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from icehouse.store.engine import Database

HEAD = "0001"
"""The newest migration; a test holds it against the scripts."""


def upgrade(database: Database) -> None:
    """Run every migration the database has not seen; runs none twice."""
    # Alembic takes a tenth of a second to import, and a vault that only signs never needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(connection: Connection) -> None:
    """Raise `StoreError` unless the database is at the schema this version knows."""
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found != HEAD:
        msg = f"the database is at schema {found}, this icehouse knows schema {HEAD}"
        raise StoreError(msg, hint="use the version of icehouse that wrote it, or a newer one")
