"""Past SQLAlchemy, where it costs more than the database: many rows in one statement, and one row for every message."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, LargeBinary, SmallInteger, Text, bindparam, delete, select
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Column, Connection, Dialect, Select, Table

# In this order: a SmallInteger is an Integer, too.
_TYPES = ((SmallInteger, "int2"), (BigInteger, "int8"), (Integer, "int4"), (Text, "text"), (LargeBinary, "bytea"))


def _type_of(column: Column[Any]) -> str:
    """What PostgreSQL calls the type of one of our columns."""
    return next(name for kind, name in _TYPES if isinstance(column.type, kind))


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def one_row(connection: Connection, statement: Select[Any], values: dict[str, int]) -> Sequence[Any] | None:
    """The first row of a prebuilt statement. It is compiled once for each kind of database."""
    sql, names = _compiled(statement, connection.dialect)
    driver: Any = connection.connection.driver_connection
    parameters = values if names is None else [values[name] for name in names]
    try:
        # To the end: a statement that is not finished would hold its snapshot of the database.
        rows: list[Sequence[Any]] = driver.execute(sql, parameters).fetchall()
    except connection.dialect.loaded_dbapi.Error as exc:
        raise translated(connection, sql, exc) from exc
    return rows[0] if rows else None


@cache
def _compiled(statement: Select[Any], dialect: Dialect) -> tuple[str, list[str] | None]:
    """A statement's text, and the names of its parameters where the driver takes them by place."""
    compiled: Any = statement.compile(dialect=dialect)
    return str(compiled), compiled.positiontup


def translated(connection: Connection, statement: str, raised: Any) -> BaseException:  # noqa: ANN401  the driver's own
    """What SQLAlchemy would have raised, which the rest of the store knows; a broken connection is not used again."""
    dialect = connection.dialect
    broken = dialect.is_disconnect(raised, None, None)
    if broken:
        connection.invalidate(raised)
    kind = dialect.loaded_dbapi.Error
    error: BaseException = DBAPIError.instance(
        statement, None, raised, kind, hide_parameters=True, dialect=dialect, connection_invalidated=broken
    )
    return error


def insert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[tuple[object, ...]],
    same: Mapping[str, int | bytes | None] = MappingProxyType({}),
) -> None:
    """Insert rows that have a table's columns in its order, but those of `same`, which hold that in every row.

    Raises `IntegrityError` where one is there.
    """
    if not rows:
        return
    columns = [column.name for column in table.columns if column.name not in same]
    names = _names([*columns, *same])
    if connection.dialect.name == "postgresql":
        whole = ((*row, *same.values()) for row in rows) if same else rows
        types = [_type_of(table.c[name]) for name in (*columns, *same)]
        _copy(connection, f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)", types, whole)
        return
    # What is the same in every row is not bound to each: half of a new key's columns, and a third of the time.
    values = ", ".join(["?"] * len(columns) + [_literal(value) for value in same.values()])
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({values})"  # noqa: S608  our own names, and no text
    connection.exec_driver_sql(statement, list(rows))


def _literal(value: int | bytes | None) -> str:
    """A value in a statement's own text; never text, which would have to be quoted."""
    if value is None:
        return "NULL"
    return f"x'{value.hex()}'" if isinstance(value, bytes) else f"{value:d}"


def _copy(connection: Connection, statement: str, types: list[str], rows: Iterable[tuple[object, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as exc:
        raise translated(connection, statement, exc) from exc


def update_rows(
    connection: Connection, table: Table, seen: Sequence[tuple[int, int]], rows: Sequence[dict[str, Any]]
) -> bool:
    """Write these columns into the rows of these numbers and revisions; false where one was written meanwhile.

    Every row has the same columns. The caller undoes the transaction where not all were written.
    """
    columns = list(rows[0])
    if connection.dialect.name == "postgresql":
        return _update_by_arrays(connection, table, seen, rows) == len(rows)
    sets = ", ".join(f'"{column}" = ?' for column in columns)
    written = connection.exec_driver_sql(
        f"UPDATE {table.name} SET {sets}, rev = rev + 1 WHERE id = ? AND rev = ?",  # noqa: S608  our own names
        [(*row.values(), *place) for row, place in zip(rows, seen, strict=True)],
    )
    return written.rowcount == len(rows)


def _update_by_arrays(
    connection: Connection, table: Table, seen: Sequence[tuple[int, int]], rows: Sequence[dict[str, Any]]
) -> int:
    ids = [number for number, _ in seen]
    # Locked in one order: two processes that move the same page wait for each other instead of going in circles.
    connection.execute(
        select(table.c.id).where(table.c.id.in_(ids)).order_by(table.c.id).with_for_update(key_share=True)
    ).all()
    columns = list(rows[0])
    arrays = [ids, [rev for _, rev in seen], *([row[column] for row in rows] for column in columns)]
    kinds = [_type_of(table.c[column]) for column in ("id", "rev", *columns)]
    places = ", ".join(f"%s::{kind}[]" for kind in kinds)
    sets = ", ".join(f'"{column}" = new."{column}"' for column in columns)
    return connection.exec_driver_sql(
        f"UPDATE {table.name} SET {sets}, rev = {table.name}.rev + 1 "  # noqa: S608  our own names
        f"FROM unnest({places}) AS new(id, rev, {_names(columns)}) "
        f"WHERE {table.name}.id = new.id AND {table.name}.rev = new.rev",
        tuple(arrays),
    ).rowcount


def delete_rows(connection: Connection, table: Table, ids: Sequence[int]) -> None:
    """Delete the rows of these numbers."""
    if not ids:
        return
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"DELETE FROM {table.name} WHERE id = ANY(%s::int8[])", (list(ids),))  # noqa: S608
        return
    connection.execute(delete(table).where(table.c.id == bindparam("of")), [{"of": number} for number in ids])
