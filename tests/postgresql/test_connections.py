"""How PostgreSQL is connected to: which URLs, how many connections, and a password that is never shown."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from icehouse.errors import IcehouseError, RequestError, StoreError
from icehouse.store import VaultStore
from icehouse.store.counts import miscounts
from icehouse.store.engine import CONNECTIONS, Database, check_no_password
from icehouse.vault import settings
from icehouse.vault.opening import create_vault

PASSWORD = "correct-horse-battery"  # noqa: S105  of a role that lives for one test
THREADS = 64
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'icehouse'"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_the_scheme_reaches_the_same_driver(postgresql, scheme):
    url = postgresql.new_url().replace("postgresql:", f"{scheme}:", 1)

    assert VaultStore.open(url) is None


@pytest.mark.parametrize("url", ["postgresql+asyncpg://localhost/x", "postgresql+psycopg2://localhost/x"])
def test_another_driver_is_refused(url):
    with pytest.raises(RequestError, match="must be psycopg"):
        Database(url)


def test_a_process_has_at_least_one_connection(house):
    with pytest.raises(RequestError, match=r"store\.connections must be 1 or more, not 0"):
        Database(house.store_url, 0)


def test_64_threads_sign_and_rotate_over_few_connections_without_an_error(postgresql, house):
    house.service.create_users(f"user-{number}" for number in range(THREADS))
    with ThreadPoolExecutor(THREADS) as pool:
        devices = list(pool.map(lambda number: house.enrolled(f"user-{number}"), range(THREADS)))

        def work(device):
            for _ in range(3):
                house.sign(device)
            device.rotate(house.service)
            house.sign(device)

        assert list(pool.map(work, devices)) == [None] * THREADS

    assert postgresql.admin(OURS)[0][0] <= CONNECTIONS
    assert house.service.check() == THREADS
    assert {house.key(device.user).epoch for device in devices} == {2}
    assert miscounts(house.service.vault.store) == []


def test_more_threads_than_connections_take_turns(new_house):
    house = new_house()
    house.service.create_users(["alice"])
    store = VaultStore.open(house.store_url, 1)
    assert store is not None
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.count(), range(40)))
    store.close()

    assert found == [1] * 40


def test_the_setting_of_a_vaults_file_bounds_its_connections(tmp_path, postgresql):
    file = tmp_path / "vault.toml"
    file.write_text(f'[store]\nurl = "{postgresql.new_url()}"\nconnections = 3\n[hsm]\nuri = "simulated:x"\n')

    assert settings.load(tmp_path).store_connections == 3
    assert settings.read(file) == settings.read(file)
    written = settings.dump(settings.read(file))
    file.write_text(written)
    assert settings.load(tmp_path).store_connections == 3


@pytest.fixture
def locked(postgresql):
    """A role that must give a password, and the URL of a database of its own without it."""
    rules = postgresql.data / "pg_hba.conf"
    before = rules.read_text()
    postgresql.admin(f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'")
    name = postgresql.new_database()
    postgresql.admin(f"ALTER DATABASE {name} OWNER TO locked")
    rules.write_text(f"host all locked all scram-sha-256\n{before}")
    postgresql.admin("SELECT pg_reload_conf()")
    yield postgresql.conninfo(name, "locked")
    rules.write_text(before)
    postgresql.admin("SELECT pg_reload_conf()")
    postgresql.admin(f"DROP DATABASE {name} WITH (FORCE)")
    postgresql.admin("DROP ROLE locked")


def with_password(url, password):
    return url.replace("locked@", f"locked:{password}@")


def test_a_password_comes_from_the_url_a_file_or_the_environment(locked, tmp_path, monkeypatch):
    file = tmp_path / "passwords"
    file.write_text(f"*:*:*:locked:{PASSWORD}\n")
    file.chmod(0o600)
    for url in (with_password(locked, PASSWORD), f"{locked}?password={PASSWORD}", f"{locked}?passfile={file}"):
        assert VaultStore.open(url) is None
    monkeypatch.setenv("PGPASSFILE", str(file))

    assert VaultStore.open(locked) is None


def every_word_of(error):
    words = ""
    while error is not None:
        words += f"{error!r} {error} {getattr(error, 'hint', '')}"
        error = error.__cause__ or error.__context__
    return words


@pytest.mark.parametrize("query", ["", "?password=", "?sslmode=nonsense", "?nonsense=1"])
def test_a_password_is_in_no_error_however_the_connection_fails(locked, query, caplog):
    caplog.set_level(logging.DEBUG)
    wrong = f"{PASSWORD}-wrong"
    url = f"{locked}{query}{wrong}" if query.endswith("password=") else f"{with_password(locked, wrong)}{query}"
    with pytest.raises(IcehouseError) as caught:
        VaultStore.open(url)

    assert wrong not in every_word_of(caught.value)
    assert wrong not in caplog.text


@pytest.mark.parametrize(
    "url", ["postgresql://u:{}@host:port/x", "postgresql://u:{}@[::1/x", "postgresql+x://u:{}@h/x"]
)
def test_a_password_is_in_no_error_about_a_url(url):
    with pytest.raises(RequestError) as caught:
        Database(url.format(PASSWORD))

    assert PASSWORD not in every_word_of(caught.value)


def test_a_password_is_in_no_repr(locked):
    for url in (with_password(locked, PASSWORD), f"{locked}?password={PASSWORD}"):
        database = Database(url)
        shown = f"{database!r} {database.engine!r} {database.engine.url!r} {settings.Settings(url, 'simulated:x')!r}"

        assert PASSWORD not in shown
        database.close()


def test_a_password_as_an_argument_is_refused(locked):
    assert check_no_password(locked) == locked
    for url in (with_password(locked, PASSWORD), f"{locked}?password={PASSWORD}"):
        with pytest.raises(RequestError, match="must not be an argument") as caught:
            check_no_password(url)
        assert PASSWORD not in every_word_of(caught.value)


def test_a_server_that_is_not_there_is_said_to_be_away():
    with pytest.raises(StoreError, match=r"the database failed: .*refused") as caught:
        VaultStore.open("postgresql://nobody@127.0.0.1:1/x")

    assert "can be reached" in str(caught.value.hint)


def test_an_in_memory_hsm_beside_a_database_server_is_refused(postgresql):
    with pytest.raises(RequestError, match="would outlive them"):
        create_vault(settings.Settings(postgresql.new_url(), "simulated:"), "hybrid")
