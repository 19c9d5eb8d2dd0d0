"""Every column of every table bent to every type and extreme: each command ends in a way that icehouse knows.

`make soak` tries every command with each of them; here each is tried with one command.
"""

from __future__ import annotations

import sys

import pytest

from icehouse.store.schema import metadata
from planted.bends import COLUMNS, VALUES, every_case, some_cases
from planted.soak import fault
from planted.town import COMMANDS, USERS

TABLES = sorted({table for table, _ in COLUMNS})


def test_every_table_has_rows_and_every_command_works_on_them(town):
    empty = [table for table in TABLES if town.sql(f'SELECT count(*) FROM "{town.named(table)}"') == [(0,)]]
    ended = {}
    for command in COMMANDS:
        town.anew()
        ended[command] = town.run(*command)

    assert empty == []
    assert {command: done.err for command, done in ended.items() if not done.is_foreseen} == {}
    assert {done.code for command, done in ended.items() if command[0] in {"exchange", "worker", "doctor"}} == {0}


@pytest.mark.parametrize("table", TABLES)
def test_a_bent_column_ends_no_process_in_a_fault(town, table):
    cases = [case for case in some_cases() if case.table == table]
    failed = {case: words for case in cases if (words := fault(town, case))}

    assert failed == {}


def test_every_column_and_command_is_among_the_cases():
    cases = every_case()

    assert len(cases) == len(COLUMNS) * len(VALUES) * len(COMMANDS)
    assert {(case.table, case.column) for case in cases} >= {
        (table.name, column.name) for table in metadata.sorted_tables for column in table.columns
    }
    assert len(USERS) == len(set(USERS))
    assert sys.getrecursionlimit() < 50_000  # so that the nested text is nested too deep
