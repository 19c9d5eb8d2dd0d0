"""PostgreSQL roles: what the one that serves a vault may do with its tables, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import RequestError
from icehouse.store.migrate import VERSIONS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from icehouse.store.engine import Database

_EVER = "SELECT, INSERT, UPDATE"
_RIGHTS = {
    VERSIONS: "SELECT",
    # Rows of these are never deleted: a number or a label that was given once is not given again.
    "vault": _EVER,
    "root_keys": _EVER,
    "data_keys": _EVER,
    "keys": _EVER,
}
_OTHERS = "SELECT, INSERT, UPDATE, DELETE"


def grant(database: Database, role: str) -> None:
    """Let a role use the tables of the vault's schema; nobody else but their owner keeps any right to them.

    Raises `RequestError` where the role could change the schema all the same, or could help itself to that.
    """
    if database.backend != "postgresql":
        msg = "only PostgreSQL has roles; who may use a SQLite vault is decided by its file's permissions"
        raise RequestError(msg)
    with database.write() as connection:
        _check(connection, role)
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
        quoted, to = _quote(connection, schema), _quote(connection, role)
        connection.exec_driver_sql(f"REVOKE ALL ON SCHEMA {quoted} FROM PUBLIC, {to}")
        connection.exec_driver_sql(f"REVOKE ALL ON ALL TABLES IN SCHEMA {quoted} FROM PUBLIC, {to}")
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {quoted} TO {to}")
        connection.exec_driver_sql(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {quoted} TO {to}")
        for (table,) in connection.exec_driver_sql(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tableowner = current_user", (schema,)
        ).all():
            rights = _RIGHTS.get(table, _OTHERS)
            connection.exec_driver_sql(f"GRANT {rights} ON {quoted}.{_quote(connection, table)} TO {to}")


def _check(connection: Connection, role: str) -> None:
    found = connection.exec_driver_sql(
        "SELECT rolsuper, pg_has_role(oid, current_user, 'MEMBER') FROM pg_roles WHERE rolname = %s", (role,)
    ).first()
    if found is None:
        msg = f"the database has no role {role!r}"
        raise RequestError(msg, hint="make one with CREATE ROLE … LOGIN")
    if any(found):
        msg = f"the role {role!r} could change the schema: it is a superuser, or the tables' owner, or may become it"
        raise RequestError(msg, hint="name a role of its own for the application")


def _quote(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)
