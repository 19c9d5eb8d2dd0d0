"""What else a file may hold: views, triggers, values of megabytes. SQLite would run and read them."""

from __future__ import annotations

import resource

import pytest

from icehouse._core import bare_refusal
from icehouse.errors import SealError, StoreError
from icehouse.service import FrostService
from icehouse.store.foreign import LARGEST

ENDLESS = "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT count(*) FROM t"
RAISING = "SELECT RAISE(ABORT, 'planted')"
WRITERS = ("INSERT", "UPDATE", "DELETE")


def answers(town):
    """What devices are answered, and how the process ended."""
    done = town.run("exchange")
    assert (done.code, done.is_foreseen) == (0, True), done.err
    assert len(done.out.splitlines()) == len(town.messages)
    return done


@pytest.mark.parametrize("body", [RAISING, ENDLESS], ids=["raising", "endless"])
@pytest.mark.parametrize("table", ["keys", "claims", "offers", "data_keys", "campaigns", "pages", "hsm_rates", "vault"])
def test_a_trigger_runs_nothing_and_ends_no_process(town, table, body):
    for kind in WRITERS:
        town.sql(f'CREATE TRIGGER "planted_{kind}" BEFORE {kind} ON "{table}" BEGIN {body}; END')
    answers(town)
    for command in (("worker", "--once", "--threads", "1"), ("users", "code", "dealt"), ("reseal",), ("doctor",)):
        done = town.run(*command)

        assert done.is_foreseen, (command, done.err)


def test_a_trigger_is_named_by_what_it_is(town):
    town.sql("CREATE TRIGGER planted BEFORE UPDATE ON keys BEGIN SELECT 1; END")

    assert "holds a view or a trigger" in town.run("users", "code", "dealt").err


@pytest.mark.parametrize("body", ["SELECT * FROM taken", f"SELECT * FROM taken, ({ENDLESS})"], ids=["whole", "endless"])
@pytest.mark.parametrize("table", ["keys", "offers", "data_keys", "campaigns", "root_keys", "vault", "version"])
def test_a_view_in_a_tables_place_is_not_read(town, table, body):
    name = town.named(table)
    town.sql(f'ALTER TABLE "{name}" RENAME TO taken')
    town.sql(f'CREATE VIEW "{name}" AS {body}')
    for command in (("exchange",), ("users", "list"), ("doctor",), ("campaign", "list"), ("worker", "--once")):
        done = town.run(*command)

        assert done.is_foreseen, (command, done.err)
    assert town.run(*(("campaign", "list") if table == "campaigns" else ("show", "live"))).code == 2


def test_a_view_planted_while_the_vault_is_open_is_not_read(town):
    with FrostService.open(town.place) as service:
        assert service.get_shards("live").epoch == 1
        town.sql("ALTER TABLE offers RENAME TO taken")
        town.sql("CREATE VIEW offers AS SELECT * FROM taken")

        with pytest.raises(SealError, match="holds a view or a trigger"):
            service.get_shards("live")
        assert service.exchange(town.messages[3]) == bare_refusal("unavailable")


def test_the_files_schema_is_not_trusted(town):
    with FrostService.open(town.place) as service, service.vault.store.database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA trusted_schema").scalar() == 0


@pytest.mark.parametrize(("table", "column"), [("keys", "user"), ("keys", "record"), ("offers", "payload")])
def test_a_value_of_eighty_megabytes_is_refused_and_never_in_memory(town, table, column):
    town.sql(f"UPDATE {table} SET {column} = CAST(zeroblob(80000000) AS TEXT)")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with FrostService.open(town.place) as service:
        with pytest.raises(SealError, match=f"more than {LARGEST:,} bytes"):
            list(service.users())
        assert service.exchange(town.messages[4]) == bare_refusal("unavailable")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert grown < 40_000  # KiB: half of one such value


@pytest.mark.parametrize(
    ("rule", "command"),
    [
        ("campaigns (1) WHERE state = 'running'", ("campaign", "start", "reseal", "--detach")),
        ("campaigns (1) WHERE state = 'running'", ("campaign", "due")),
        ("root_keys (1) WHERE state = 'making'", ("rewrap",)),
        ("keys (1) WHERE id > 7", ("users", "create", "new", "newer")),
        ("data_keys (1) WHERE number > 2", ("reseal",)),
        ("removals (1)", ("users", "destroy", "rotating", "--yes")),
        ("findings (1)", ("worker", "--once", "--threads", "1")),
    ],
)
def test_a_rule_that_somebody_else_made_ends_no_loop_in_itself(town, rule, command):
    """What the database calls a row that is there already may be a rule of its own, which no second try satisfies."""
    town.sql("UPDATE campaigns SET terms = '5' WHERE state = 'running'")
    town.sql(f"CREATE UNIQUE INDEX planted ON {rule}")
    done = town.run(*command)

    assert done.is_foreseen, done.err


def test_a_store_whose_rules_refuse_every_row_is_a_store_error(town):
    town.sql("CREATE UNIQUE INDEX planted ON findings (1)")
    with FrostService.open(town.place) as service, pytest.raises(StoreError, match="already"):  # noqa: SIM117
        with service.vault.store.database.write() as connection:
            connection.exec_driver_sql("INSERT INTO findings VALUES (3, 4, 'live', 'SealError', 'words')")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX planted ON keys (abs(due))",
        "CREATE INDEX planted ON keys (due) WHERE due > 0",
        "CREATE INDEX planted ON keys (user COLLATE NOCASE)",
        "CREATE TABLE planted (a INTEGER, b INTEGER GENERATED ALWAYS AS (a + 1) VIRTUAL)",
        "CREATE TABLE planted (a INTEGER, b INTEGER AS (a + 1))",
        "CREATE TABLE planted (a INTEGER CHECK (a > 0))",
        "CREATE TABLE planted (a INTEGER DEFAULT (1 + 1))",
    ],
)
def test_a_schema_that_computes_opens_no_vault(town, statement):
    town.sql(statement)
    for command in (("exchange",), ("show", "live"), ("worker", "--once")):
        done = town.run(*command)

        assert done.code == 2
        assert "computes something" in done.err


def test_a_column_that_computes_opens_no_vault(town):
    (made,) = town.sql("SELECT sql FROM sqlite_master WHERE name = 'keys'")[0]
    assert "due SMALLINT NOT NULL" in made
    computing = made.replace("due SMALLINT NOT NULL", "due SMALLINT GENERATED ALWAYS AS (1 + 1) VIRTUAL")
    town.sql("PRAGMA foreign_keys = OFF")
    town.sql("ALTER TABLE keys RENAME TO former")
    town.sql(computing)

    assert "computes something" in town.run("show", "live").err
