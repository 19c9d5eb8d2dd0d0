"""Whose tables they are: another application's are left alone, and a newer icehouse's are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import inspect, text

from conformance.store.test_store import record
from executable import Shell
from icehouse.errors import SealError, StoreError
from icehouse.store import VaultStore, migrate
from icehouse.store.engine import Database

THEIRS = ("CREATE TABLE orders (id INTEGER)", "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
LOOK_ALIKES = tuple(
    f"CREATE TABLE {table} (id INTEGER, secret TEXT)"
    for table in ("vault", "root_keys", "data_keys", "keys", "removals", "claims", "offers")
)


def run(url, *statements):
    database = Database(url)
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))
    database.close()


def contents(url):
    """Every table, its columns and rows."""
    database = Database(url)
    with database.read() as connection:
        found = {
            name: (
                [(column["name"], str(column["type"])) for column in inspect(connection).get_columns(name)],
                [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))],
            )
            for name in inspect(connection).get_table_names()
        }
    database.close()
    return found


@pytest.fixture
def shell(tmp_path) -> Shell:
    return Shell(tmp_path)


def refused_without_change(shell, url, words):
    before = contents(url)
    done = shell.run("store", "prepare", "--store", url)

    assert done.code == 2, done.err
    assert len(done.errors) == 1, done.err
    assert words in done.err
    assert "Traceback" not in done.err
    assert contents(url) == before


@pytest.mark.parametrize("version", ["0001", "0002", "0003", "7f3a"])
def test_another_applications_tables_are_not_taken_for_a_vaults(shell, new_url, version):
    url = new_url()
    run(url, *THEIRS, f"INSERT INTO alembic_version VALUES ('{version}')")

    refused_without_change(shell, url, "other tables and no vault")


def test_tables_that_only_bear_our_names_are_not_taken_for_a_vaults(shell, new_url):
    url = new_url()
    run(url, *THEIRS, *LOOK_ALIKES, "INSERT INTO alembic_version VALUES ('0001')")

    refused_without_change(shell, url, "other tables and no vault")
    with pytest.raises(StoreError, match="other tables and no vault"):
        VaultStore.open(url)


def test_a_database_with_other_tables_and_no_version_is_left_alone(shell, new_url):
    url = new_url()
    run(url, THEIRS[0])

    refused_without_change(shell, url, "other tables and no vault")


@pytest.mark.parametrize("version", ["0003", "9999", "another"])
def test_a_newer_schema_is_refused_and_nothing_changes(shell, new_url, version):
    url = new_url()
    VaultStore.create(url, record()).close()
    run(url, f"UPDATE icehouse_version SET version_num = '{version}'")

    refused_without_change(shell, url, f"the database is at schema {version}, this icehouse knows schema")


@pytest.mark.parametrize("change", ["DELETE FROM {}", "INSERT INTO {} VALUES ('0001')"])
def test_a_version_that_is_none_or_two_is_refused(shell, new_url, change):
    url = new_url()
    VaultStore.create(url, record()).close()
    run(url, change.format("icehouse_version"))

    refused_without_change(shell, url, "must name one schema")
    with pytest.raises(SealError, match="must name one schema"):
        VaultStore.open(url)


def as_it_was(url):
    """A vault's database as icehouse made it before its version table had a name of its own."""
    run(url, "ALTER TABLE icehouse_version RENAME TO alembic_version")
    if url.startswith("postgresql"):
        run(url, "ALTER INDEX icehouse_version_pkc RENAME TO alembic_version_pkc")


def made_at(url, revision):
    """The tables of a schema as icehouse made them then."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    database = Database(url)
    with database.write() as connection:
        config.attributes.update(connection=connection, version_table="alembic_version")
        command.upgrade(config, revision)
    database.close()


def test_a_vault_under_the_former_name_is_told_how_to_be_brought_over_and_loses_nothing(shell, new_url):
    url = new_url()
    VaultStore.create(url, record()).close()
    as_it_should_be = contents(url)
    as_it_was(url)
    with pytest.raises(StoreError, match="alembic_version, a table that other applications use") as caught:
        VaultStore.open(url)
    assert "icehouse store prepare" in str(caught.value.hint)
    shell.do("store", "prepare", "--store", url)
    shell.do("store", "prepare", "--store", url)
    opened = VaultStore.open(url)

    assert opened is not None
    assert opened.record == record()
    opened.close()
    assert contents(url) == as_it_should_be


@pytest.mark.parametrize("at", migrate.KNOWN)
def test_tables_of_each_schema_under_the_former_name_become_those_of_this_one(shell, new_url, at):
    url, newest = new_url(), new_url()
    made_at(url, at)
    VaultStore.create(newest, record()).close()
    shell.do("store", "prepare", "--store", url)
    VaultStore.create(url, record()).close()

    assert contents(url) == contents(newest)


def test_another_application_may_use_the_former_name_beside_a_vault_that_was_brought_over(shell, new_url):
    url = new_url()
    VaultStore.create(url, record()).close()
    as_it_was(url)
    shell.do("store", "prepare", "--store", url)
    constraint = "CONSTRAINT alembic_version_pkc PRIMARY KEY"
    run(url, f"CREATE TABLE alembic_version (version_num VARCHAR(32) {constraint})")
    run(url, "INSERT INTO alembic_version VALUES ('0001')")
    shell.do("store", "prepare", "--store", url)
    opened = VaultStore.open(url)

    assert opened is not None
    opened.close()


def test_a_newer_version_under_the_former_name_is_refused(shell, new_url):
    url = new_url()
    VaultStore.create(url, record()).close()
    as_it_was(url)
    run(url, "UPDATE alembic_version SET version_num = '0003'")

    refused_without_change(shell, url, "the database is at schema 0003, this icehouse knows schema")


def test_another_applications_sqlite_file_keeps_every_byte(shell, tmp_path):
    file = tmp_path / "theirs.db"
    shell.script("-c", f"import sqlite3; sqlite3.connect({str(file)!r}).execute('CREATE TABLE orders (id INTEGER)')")
    before = file.read_bytes()
    for words in (("store", "prepare"), ("init", "--vault", "vault")):
        assert shell.run(*words, "--store", f"sqlite:///{file}").code == 2

    assert file.read_bytes() == before
    assert [path.name for path in Path(tmp_path).iterdir()] == ["theirs.db"]
