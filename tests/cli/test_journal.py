"""Somebody else, such as a backup tool, reads an older state of a SQLite vault while something is removed from it."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import ExitStack, closing, contextmanager

import pytest

HOLDS = """
import sqlite3, sys
reader = sqlite3.connect(sys.argv[1], isolation_level=None)
reader.execute("BEGIN")
reader.execute("SELECT count(*) FROM keys").fetchall()
print("holds", flush=True)
sys.stdin.read()
"""
WRITES = """
import sqlite3, sys, threading
writer = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=1)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
print("writes", flush=True)
count = 0
while not ended.is_set() or count == 0:
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE vault SET next_key = next_key")
    writer.execute("COMMIT")
    count += 1
print(count)
"""


@contextmanager
def another(shell, program):
    """Another process on the vault's database, until it is told to end."""
    process = shell.launch(sys.executable, "-c", program, shell.vault / "vault.db")
    process.stdout.readline()
    try:
        yield process
    finally:
        process.communicate(timeout=120)


def one(shell, statement):
    with closing(sqlite3.connect(shell.vault / "vault.db")) as database:
        return database.execute(statement).fetchone()[0]


def files_with(shell, secret):
    return sorted(str(file) for file in shell.vault.glob("vault.db*") if secret in file.read_bytes())


@pytest.fixture
def record(shell):
    """Alice's sealed record."""
    return one(shell, "SELECT record FROM keys ORDER BY id LIMIT 1")


def test_a_record_that_a_reader_keeps_is_not_called_removed(shell, record):
    with another(shell, HOLDS) as reader:
        done = shell.do("users", "destroy", "alice", "--yes", "--format", "json")
        lies_in = files_with(shell, record)
        seen = shell.do("doctor", "--format", "json")
    trimmed = shell.do("trim", "--format", "json").json

    assert done.json[0]["state"] == "removing"
    assert set(done.json[0]["still_in"]) >= set(lies_in) != set()
    assert done.json[0]["kept_by"] == [f"process {reader.pid} ({reader.args[0].rpartition('/')[2]})"]
    for said in (done, seen):
        files = " and ".join(done.json[0]["still_in"])
        assert f"what was removed may still lie in {files}: process {reader.pid}" in said.err
        assert "then 'icehouse trim' empties the journal" in said.err
    assert seen.json["still_in"] == done.json[0]["still_in"]
    assert "still_in" not in trimmed
    assert files_with(shell, record) == []


def test_a_wrapped_data_key_that_a_reader_keeps_is_told_of_by_trim(shell):
    shell.do("reseal")
    wrapped = one(shell, "SELECT wrapped FROM data_keys WHERE state <> 3 AND live = 0 LIMIT 1")
    with another(shell, HOLDS):
        held = shell.do("trim", "--format", "json")
        lies_in = files_with(shell, wrapped)
    after = shell.do("trim", "--format", "json")

    assert held.json["data_keys_destroyed"] > 0
    assert set(held.json["still_in"]) >= set(lies_in) != set()
    assert "warning: what was removed may still lie in" in held.err
    assert "still_in" not in after.json
    assert "may still lie" not in after.err
    assert files_with(shell, wrapped) == []


def test_doctor_tells_of_a_reader_of_the_newest_state_who_keeps_the_journal(shell, record):
    with ExitStack() as older, ExitStack() as newest:
        older.enter_context(another(shell, HOLDS))
        shell.sql("UPDATE keys SET rev = rev + 1")  # so that the journal has the page with the record
        shell.do("users", "destroy", "alice", "--yes")
        newest.enter_context(another(shell, HOLDS))
        older.close()
        seen = shell.do("doctor", "--format", "json").json
        lies_in = files_with(shell, record)
    after = shell.do("doctor", "--format", "json").json

    assert seen["still_in"] == lies_in == [f"{shell.vault / 'vault.db'}-wal"]
    assert "still_in" not in after
    assert after["warnings"] == []
    assert files_with(shell, record) == []


def test_no_writer_waits_for_a_journal_that_a_reader_keeps(shell):
    with another(shell, HOLDS):
        writer = shell.launch(sys.executable, "-c", WRITES, shell.vault / "vault.db")
        writer.stdout.readline()
        shell.do("users", "destroy", "alice", "--yes")
        shell.do("trim")
        out, err = writer.communicate(timeout=120)

    assert writer.returncode == 0, err
    assert int(out) > 0


def test_a_campaign_that_removes_users_tells_of_the_journal(shell):
    with another(shell, HOLDS):
        done = shell.do("campaign", "start", "destroy", "--state", "dealt", "--yes")
    quiet = shell.do("users", "destroy", "bob", "--yes", "--format", "json").json[0]

    assert "what was removed may still lie in" in done.err
    assert quiet["state"] == "removed"
