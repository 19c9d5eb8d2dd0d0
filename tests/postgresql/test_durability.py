"""A server that may lose what it said was durable is refused, and what a standby would lose is told."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy import text

from icehouse.errors import StoreError
from icehouse.store import VaultStore
from icehouse.store.engine import Database


@contextmanager
def setting(postgresql, name, value):
    """The whole server with another setting, for a while."""
    _reload(postgresql, f"ALTER SYSTEM SET {name} = {value}", name, value)
    try:
        yield
    finally:
        _reload(postgresql, f"ALTER SYSTEM RESET {name}", name, "on")


def _reload(postgresql, statement, name, expected):
    postgresql.admin(statement)
    postgresql.admin("SELECT pg_reload_conf()")
    while postgresql.admin(f"SHOW {name}") != [(expected,)]:
        pass


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_may_forget_is_refused_at_opening(postgresql, house, name):
    with setting(postgresql, name, "off"), pytest.raises(StoreError, match=f"{name} = off") as caught:
        VaultStore.open(house.store_url)

    assert f"set {name} = on" in str(caught.value.hint)
    opened = VaultStore.open(house.store_url)
    assert opened is not None
    opened.close()


@pytest.mark.parametrize("whose", ["ROLE postgres IN DATABASE postgres", "ROLE postgres", "DATABASE postgres"])
def test_a_role_or_a_database_that_may_forget_is_refused_too(postgresql, house, whose):
    postgresql.admin(f"ALTER {whose} SET synchronous_commit = off")
    try:
        with pytest.raises(StoreError, match="synchronous_commit = off"):
            VaultStore.open(house.store_url)
    finally:
        postgresql.admin(f"ALTER {whose} RESET synchronous_commit")


def test_a_url_that_asks_to_forget_is_refused(house):
    with pytest.raises(StoreError, match="synchronous_commit = off"):
        VaultStore.open(f"{house.store_url}%20-csynchronous_commit%3Doff")


def test_a_new_connection_of_a_serving_process_is_checked_as_well(postgresql, house):
    house.service.create_users(["alice"])
    with setting(postgresql, "fsync", "off"):
        postgresql.end_connections()
        with pytest.raises(StoreError, match="fsync = off"):
            house.service.create_users(["bob"])
    house.service.create_users(["bob"])

    assert house.service.check() == 2


def test_a_database_that_cannot_hold_every_name_is_refused(postgresql):
    postgresql.admin("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'")
    with pytest.raises(StoreError, match="must be UTF8, not SQL_ASCII"):
        VaultStore.open(postgresql.conninfo("ascii"))


def test_what_an_asynchronous_standby_would_lose_is_told_and_a_standby_decides_nothing(postgresql, standby, house):
    store = house.service.vault.store
    while not postgresql.admin("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"):
        pass
    told = [warning for warning in store.warnings() if "standby" in warning]
    assert len(told) == 1
    assert told[0].startswith("1 standby servers copy the database, and no commit waits for them")

    url = house.store_url.replace(f":{postgresql.port}/", f":{standby.port}/")
    with pytest.raises(StoreError, match="the database failed"):
        VaultStore.open(url)
    with pytest.raises(StoreError, match="standby, and icehouse decides on the primary only"):
        VaultStore.open(f"{url}&target_session_attrs=any")

    postgresql.admin("ALTER SYSTEM SET synchronous_standby_names = '*'")
    postgresql.admin("SELECT pg_reload_conf()")
    try:
        while [warning for warning in store.warnings() if "standby" in warning]:
            pass
        house.service.create_users(["alice"])
        (seen,) = standby.admin(f"SELECT count(*) FROM {house.store_url.rpartition('%3D')[2]}.keys")
    finally:
        postgresql.admin("ALTER SYSTEM RESET synchronous_standby_names")
        postgresql.admin("SELECT pg_reload_conf()")

    assert seen == (1,)


def test_what_was_looked_at_stays_so_for_as_long_as_the_session_lives(postgresql, house):
    database = Database(house.store_url)
    asked = text("SELECT current_setting('synchronous_commit'), current_setting('client_min_messages')")
    with database.read() as connection:
        before = connection.execute(asked).one()
        with setting(postgresql, "synchronous_commit", "off"):
            after = connection.execute(asked).one()
    database.close()

    assert tuple(before) == tuple(after) == ("on", "warning")


def test_the_warning_of_a_cancelled_wait_is_sent_whatever_the_role_wants_to_hear(postgresql, house):
    postgresql.admin("ALTER ROLE postgres SET client_min_messages = error")
    try:
        database = Database(house.store_url)
        with database.read() as connection:
            heard = connection.execute(text("SHOW client_min_messages")).scalar()
        database.close()
    finally:
        postgresql.admin("ALTER ROLE postgres RESET client_min_messages")

    assert heard == "warning"
