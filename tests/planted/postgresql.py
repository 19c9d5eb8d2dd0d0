"""The same vault on PostgreSQL, whose columns have types: what they let through is bent."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from icehouse.service import FrostService
from icehouse.store.schema import metadata
from planted.town import Town, populate, run_here

if TYPE_CHECKING:
    from pathlib import Path

TABLES = [table.name for table in metadata.sorted_tables]
VALUES = (
    *("0", "-1", "32767", "-32768", "2147483647", "-2147483648", "9007199254740992"),
    *("9223372036854775807", "-9223372036854775808", "0.5", "1e-300", "'NaN'", "'Infinity'", "'-Infinity'"),
    *("''", "'word'", "'running'", "repeat('[', 50000)", """'{"data_keys": 5}'""", "repeat('a', 300000)"),
    *(
        "'\\x'::bytea",
        "'\\x00'::bytea",
        "decode(repeat('00', 48), 'hex')",
        "decode(repeat('00', 300000), 'hex')",
        "NULL",
    ),
)


@dataclass
class PostgresTown(Town):
    """A town whose database is a schema of a server's."""

    schema: str = ""
    conninfo: str = ""
    rows: dict[str, list[Any]] | None = None

    @classmethod
    def on(cls, url: str, directory: Path) -> PostgresTown:
        made = directory / "made"
        run_here(("init", "--store", url, "--vault", str(made)))
        with FrostService.open(made) as service:
            messages = tuple(populate(service))
        schema = re.findall(r"vault\d+", url)[-1]
        town = cls(made, directory / "place", messages, schema, url.partition("?")[0])
        tables = [*TABLES, town.named("version")]
        town.rows = {table: town.sql(f'SELECT * FROM "{table}"') for table in tables}
        return town

    def connect(self) -> psycopg.Connection[Any]:
        options = f"-csearch_path={self.schema} -csession_replication_role=replica"
        return psycopg.connect(self.conninfo, autocommit=True, options=options)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            done = connection.execute(statement.replace("?", "%s") if values else statement, values or None)  # type: ignore[arg-type]
            return done.fetchall() if done.description else []

    def anew(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.made, self.place)
        assert self.rows is not None
        with self.connect() as connection, connection.transaction():
            connection.execute("DELETE FROM procrastinate_jobs")
            for table, rows in self.rows.items():
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
                for row in rows:
                    places = sql.SQL(", ").join([sql.Placeholder()] * len(row))
                    insert = sql.SQL("INSERT INTO {} VALUES ({})").format(sql.Identifier(table), places)
                    connection.execute(insert, row)

    def bend(self, table: str, column: str, value: str) -> bool:
        """In every row, or where they must differ, in one; False where PostgreSQL refuses it."""
        for where in ("", f'WHERE ctid = (SELECT max(ctid) FROM "{self.named(table)}")'):
            try:
                self.sql(f'UPDATE "{self.named(table)}" SET "{column}" = {value} {where}')
            except psycopg.errors.UniqueViolation:
                continue
            except psycopg.Error:
                return False
            return True
        return False

    def named(self, table: str) -> str:
        if table != "version":
            return table
        found = (
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'version_num' AND table_schema = ?"
        )
        return str(self.sql(found, self.schema)[0][0])
