"""The role that serves a vault does all that a vault needs; it cannot change its schema nor read another vault's."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from conformance.custody.house import DIRECT, House
from consenting import destroyed, orphans_removed, trimmed
from icehouse.errors import RequestError
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.store import migrate, roles
from icehouse.store.engine import Database
from icehouse.store.schema import metadata

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "postgresql.md"
TABLES = sorted(metadata.tables)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def served(postgresql):
    """Two vaults in one database, made as the page says; the application's URL of each, and its owner's."""
    postgresql.psql(blocks("sql")[0], "postgres")
    urls = {}
    for vault in ("a", "b"):
        owner = f"{postgresql.conninfo('icehouse', 'icehouse_owner')}?options=-csearch_path%3Dvault_{vault}"
        database = Database(owner)
        migrate.upgrade(database)
        roles.grant(database, f"icehouse_{vault}")
        database.close()
        urls[vault] = owner.replace("icehouse_owner@", f"icehouse_{vault}@"), owner
    return urls


@pytest.fixture
def house(served, tmp_path):
    """The first vault, served by the application's role."""
    database = Database(served["a"][1])
    with database.write() as connection:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(TABLES)}")
    database.close()
    opened = House(tmp_path / "house", DIRECT, SimulatedHsm(), store_url=served["a"][0])
    yield opened
    opened.close()


def test_the_application_role_can_do_all_that_a_vault_needs(house):
    alice = house.enrolled("alice")
    house.service.create_users(f"user-{number}" for number in range(20))
    alice.rotate(house.service)
    upkeep = house.service.upkeep
    upkeep.rewrap()
    upkeep.reseal()
    destroyed(house.service, "user-3")
    trimmed(house.service)
    house.service.create_users(["user-3"])
    orphans_removed(house.service)
    house.sign(alice)

    assert house.service.check() == 21
    assert [warning for warning in house.service.vault.store.warnings() if "schema" in warning] == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE vault_a.mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "CREATE TEMPORARY TABLE keys (x int)",
        "CREATE SCHEMA mine",
        "CREATE VIEW vault_a.mine AS SELECT 1",
        "CREATE FUNCTION vault_a.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        *(f"ALTER TABLE vault_a.{table} ADD COLUMN mine int" for table in TABLES),
        *(f"DROP TABLE vault_a.{table} CASCADE" for table in TABLES),
        *(f"TRUNCATE vault_a.{table} CASCADE" for table in TABLES),
        *(f"CREATE TRIGGER mine BEFORE INSERT ON vault_a.{table} EXECUTE FUNCTION now()" for table in TABLES),
        "DROP SCHEMA vault_a CASCADE",
        "DROP INDEX vault_a.data_keys_root_key",
        "UPDATE vault_a.icehouse_version SET version_num = 'x'",
        "DELETE FROM vault_a.icehouse_version",
        "DELETE FROM vault_a.keys",
        "DELETE FROM vault_a.data_keys",
        "DELETE FROM vault_a.root_keys",
        "DELETE FROM vault_a.vault",
        *(f"SELECT * FROM vault_b.{table}" for table in TABLES),
        *(f"UPDATE vault_b.{table} SET {table} = {table}" for table in ("keys", "vault")),
        "INSERT INTO vault_b.vault DEFAULT VALUES",
        "SET ROLE icehouse_owner",
        "SET ROLE icehouse_b",
        "GRANT icehouse_owner TO icehouse_a",
        "ALTER ROLE icehouse_a SUPERUSER",
        "ALTER SYSTEM SET fsync = off",
        "SET fsync = off",
        "COPY vault_a.keys TO '/tmp/keys'",
        "SELECT pg_read_file('postgresql.conf')",
    ],
)
def test_the_application_role_can_neither_change_the_schema_nor_reach_another_vault(served, statement):
    with (
        psycopg.connect(served["a"][0], autocommit=True) as connection,
        pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.CantChangeRuntimeParam)) as caught,
    ):
        connection.execute(statement)

    assert caught.value.sqlstate in {"42501", "55P02"}


def test_a_role_that_could_help_itself_is_not_granted_anything(postgresql, served):
    database = Database(served["a"][1])
    for role in ("icehouse_owner", "postgres"):
        with pytest.raises(RequestError, match="could change the schema"):
            roles.grant(database, role)
    with pytest.raises(RequestError, match="has no role 'nobody'"):
        roles.grant(database, "nobody")
    postgresql.admin('CREATE ROLE "we""ird; --" LOGIN')
    postgresql.admin('GRANT CONNECT ON DATABASE icehouse TO "we""ird; --"')
    roles.grant(database, 'we"ird; --')
    database.close()
    url = served["a"][1].replace("icehouse_owner@", "we%22ird%3B%20--@")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM keys").fetchone() is not None


def test_a_sqlite_vault_has_no_roles(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/vault.db")
    with pytest.raises(RequestError, match="only PostgreSQL has roles"):
        roles.grant(database, "someone")
    database.close()
