"""Bringing a database to the schema this version knows, with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from icehouse.errors import StoreError
from icehouse.store.foreign import not_ours

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from icehouse.store.engine import Database

HEAD = "0002"
"""The newest migration; a test holds it against the scripts."""


_KNOWN = ("0001", HEAD)
_LOCK = int.from_bytes(b"icehouse", "big") >> 1


def upgrade(database: Database) -> None:
    """Run every migration the database has not seen; runs none twice."""
    # Alembic takes a tenth of a second to import, and a vault that only signs never needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with database.write() as connection:
        if database.backend == "postgresql":
            # Two processes that find an empty database would make the same tables. Nothing else relies on this lock.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        if inspect(connection).has_table("alembic_version"):
            _check_known(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _check_known(connection: Connection) -> None:
    """Refuse a version that no migration has made."""
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found not in _KNOWN:
        not_ours("the version of the database's schema", found)


def check(connection: Connection) -> None:
    """Raise `StoreError` unless the database is at the schema this version knows."""
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and not isinstance(found, str):
        not_ours("the version of the database's schema", found)
    if found != HEAD:
        msg = f"the database is at schema {found}, this icehouse knows schema {HEAD}"
        older = isinstance(found, str) and found < HEAD
        hint = "bring it to this one with 'icehouse store prepare'" if older else "use the newer icehouse that wrote it"
        raise StoreError(msg, hint=hint)
