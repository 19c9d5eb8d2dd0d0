"""What somebody might write into a column, as SQL: every type, and the ends of every range."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from icehouse.store.schema import metadata
from planted.town import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

NESTED = "[" * 50_000
NUMBERS = ("0", "-1", "1", "2147483647", "9007199254740992", "9223372036854775807", "-9223372036854775808")
FLOATS = ("0.5", "1e-300", "1e300", "9e999", "-9e999")
TEXTS = (
    "''",
    "'word'",
    "'running'",
    "CAST(x'ff00fe' AS TEXT)",
    "'a' || char(0) || 'b'",
    f"'{NESTED}'",
    """'{"data_keys": 5}'""",
    """'{"suite": "ed448", "due_from": -5, "due_by": 1e9}'""",
    "CAST(zeroblob(300000) AS TEXT)",
)
BLOBS = ("x''", "x'00'", "zeroblob(16)", "zeroblob(48)", "zeroblob(300000)")
VALUES = (*NUMBERS, *FLOATS, *TEXTS, *BLOBS, "NULL")
COLUMNS = (
    *((table.name, column.name) for table in metadata.sorted_tables for column in table.columns),
    ("version", "version_num"),
)


_EACH = 6
"""Values for each column in a short run."""


class Case(NamedTuple):
    """A value for a column, and the command that is run over it."""

    table: str
    column: str
    value: str
    command: tuple[str, ...]


def every_case() -> list[Case]:
    """Every value in every column under every command, in an order that mixes them and is always the same."""
    found = [Case(*column, value, command) for column in COLUMNS for value in VALUES for command in COMMANDS]
    random.Random(14).shuffle(found)  # noqa: S311  any order will do
    return found


def some_cases() -> Iterator[Case]:
    """A few for each column, and for each value and each command many; always the same ones."""
    chosen = random.Random(41)  # noqa: S311  any will do
    for column in COLUMNS:
        for value in chosen.sample(VALUES, _EACH):
            yield Case(*column, value, chosen.choice(COMMANDS))
