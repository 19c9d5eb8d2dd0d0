"""Bringing a database to the schema this version knows, with Alembic, counted in a table of icehouse's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from icehouse.errors import SealError, StoreError
from icehouse.store.foreign import check_schema
from icehouse.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from icehouse.store.engine import Database

VERSIONS = "icehouse_version"
FORMER_VERSIONS = "alembic_version"
"""What the table was called before, and what every application that uses Alembic calls its own by default."""
KNOWN = ("0001", "0002")
"""Every migration, the oldest first; a test holds them against the scripts."""
HEAD = KNOWN[-1]

_MADE_BY_SECOND = frozenset({"campaigns", "pages", "findings", "hsm_rates"})
_LOCK = int.from_bytes(b"icehouse", "big") >> 1


def upgrade(database: Database) -> None:
    """Run every migration the database has not seen; runs none twice.

    Raises `StoreError`, and changes nothing, where the tables are another application's or a newer icehouse's.
    """
    # Alembic takes a tenth of a second to import, and a vault that only signs never needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with database.write() as connection:
        if database.backend == "postgresql":
            # Two processes that find an empty database would make the same tables. Nothing else relies on this lock.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        _prepare(connection)
        config.attributes.update(connection=connection, version_table=VERSIONS)
        command.upgrade(config, "head")


def _prepare(connection: Connection) -> None:
    """See that the tables there are, if any, are icehouse's and may be brought to this version."""
    names = inspect(connection).get_table_names()
    if not names:
        return
    if VERSIONS not in names:
        _check_ours(connection, names)
        _take_former_name(connection)
    found = _version(connection, VERSIONS)
    if found not in KNOWN:
        raise _of_another(found)


def _take_former_name(connection: Connection) -> None:
    """Renamed, not copied: an older icehouse that still runs must not take a later schema for its own."""
    connection.exec_driver_sql(f"ALTER TABLE {FORMER_VERSIONS} RENAME TO {VERSIONS}")
    if connection.dialect.name == "postgresql":
        # Another application's table of that name will want its index's name, too.
        connection.exec_driver_sql(f"ALTER INDEX IF EXISTS {FORMER_VERSIONS}_pkc RENAME TO {VERSIONS}_pkc")


def is_there(connection: Connection) -> bool:
    """Whether a database holds icehouse's tables, at this version's schema; false where it holds none at all.

    Raises `StoreError` where they are another application's, or at another schema.
    """
    names = inspect(connection).get_table_names()
    if not names:
        return False
    if VERSIONS in names:
        check(connection)
        return True
    _check_ours(connection, names)
    msg = f"the database counts its schema in {FORMER_VERSIONS}, a table that other applications use as well"
    raise StoreError(msg, hint=f"rename it to {VERSIONS} with 'icehouse store prepare'")


def check(connection: Connection) -> None:
    """Raise `StoreError` unless the database is at the schema this version knows."""
    found = _version(connection, VERSIONS)
    if found != HEAD:
        raise _of_another(found)
    if connection.dialect.name == "sqlite":
        check_schema(connection)


def _of_another(found: str) -> StoreError:
    msg = f"the database is at schema {found}, this icehouse knows schema {HEAD}"
    older = found in KNOWN
    hint = "bring it to this one with 'icehouse store prepare'" if older else "use the newer icehouse that wrote it"
    return StoreError(msg, hint=hint)


def _version(connection: Connection, table: str) -> str:
    rows = connection.execute(text(f"SELECT version_num FROM {table} LIMIT 2")).scalars().all()  # noqa: S608  our own
    if len(rows) != 1 or not isinstance(rows[0], str):
        msg = f"the table {table} must name one schema, and it does not"
        raise SealError(msg)
    return rows[0]


def _check_ours(connection: Connection, names: Collection[str]) -> None:
    """Refuse a database whose tables only look like a vault's from before the version table had a name of its own."""
    if FORMER_VERSIONS in names:
        wanted = KNOWN if _MADE_BY_SECOND & set(names) else KNOWN[:1]
        tables = [table for name, table in metadata.tables.items() if wanted == KNOWN or name not in _MADE_BY_SECOND]
        if all(table.name in names and _columns(connection, table.name) == set(table.c.keys()) for table in tables):
            found = _version(connection, FORMER_VERSIONS)
            if found != wanted[-1]:
                raise _of_another(found)
            return
    msg = "the database holds other tables and no vault"
    raise StoreError(msg, hint="give icehouse a database of its own, or on PostgreSQL a schema")


def _columns(connection: Connection, table: str) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(table)}
