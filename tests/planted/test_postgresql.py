"""What PostgreSQL's types let through, and jobs that somebody else wrote."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from executable import ICEHOUSE
from planted.bends import COLUMNS, Case
from planted.postgresql import VALUES, PostgresTown
from planted.soak import fault
from planted.town import COMMANDS, PATIENCE

EACH = 3
RUNNING = 3
JOBS = [
    {"campaign": [1, 1]},
    {"campaign": {"a": 1}},
    {"campaign": "3"},
    {"campaign": 10**30},
    {"campaign": None},
    {},
    {"campaign": 3, "more": []},
    {"more": 5},
]


@pytest.fixture(scope="session")
def _on_server(postgresql, tmp_path_factory):
    return PostgresTown.on(postgresql.new_url(), tmp_path_factory.mktemp("town"))


@pytest.fixture
def far(_on_server):
    _on_server.anew()
    return _on_server


@pytest.mark.parametrize("table", sorted({table for table, _ in COLUMNS}))
def test_a_bent_column_ends_no_process_in_a_fault(far, table):
    chosen = random.Random(table)  # noqa: S311  always the same
    commands = [command for command in COMMANDS if command[0] != "worker"]  # which waits for jobs there
    cases = [
        Case(table, column, value, chosen.choice(commands))
        for column in [column for own, column in COLUMNS if own == table]
        for value in chosen.sample(VALUES, EACH)
    ]
    failed = {case: words for case in cases if (words := fault(far, case))}

    assert failed == {}


@pytest.mark.parametrize(("column", "value"), [("terms", "'5'"), ("terms", "repeat('[', 50000)"), ("verb", "'word'")])
def test_a_campaign_that_icehouse_never_writes_fails_by_its_name(far, column, value):
    far.sql(f"UPDATE campaigns SET {column} = {value} WHERE id = {RUNNING}")
    _worked(far, lambda: far.sql("SELECT state FROM campaigns WHERE id = ?", RUNNING) == [("failed",)])

    assert far.sql("SELECT whose, reason FROM findings WHERE campaign = ?", RUNNING)[0] == ("campaign 3", "SealError")


def test_a_key_that_is_due_at_the_end_of_all_days_keeps_no_device_out_in_a_fault(far):
    far.sql("UPDATE keys SET due = -32768, changed = 9223372036854775807")

    assert far.run("exchange").is_foreseen
    assert far.run("users", "overdue").is_foreseen


def test_jobs_that_somebody_else_wrote_end_no_worker(far):
    insert = (
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status) VALUES ('icehouse', ?, ?::jsonb, 'todo')"
    )
    for args in JOBS:
        far.sql(insert, "icehouse.page", json.dumps(args))
        far.sql(insert, "icehouse.minute", json.dumps(args))
    far.sql(insert, "icehouse.nothing", "{}")
    far.sql(insert, "icehouse.page", '{"campaign": 3}')
    said = _worked(far, lambda: far.sql("SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'") == [(0,)])

    assert "Traceback" not in said
    assert far.sql("SELECT state FROM campaigns WHERE id = ?", RUNNING) == [("done",)]


def _worked(town, is_done):
    """Let a worker work until something is done; what it said."""
    command = [str(ICEHOUSE), "worker", "--threads", "1", "--vault", str(town.place)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + PATIENCE
        while not is_done() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.2)
        lived = process.poll() is None
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)[1].decode()
    assert lived, said
    assert is_done(), said
    assert process.returncode == 0, said
    return said
