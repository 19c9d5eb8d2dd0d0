"""A pooler in front of the server: one of sessions serves, every other is refused before anything is written."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest

from conformance.custody.house import HYBRID, House
from executable import Shell
from icehouse.errors import StoreError
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.service import FrostService
from icehouse.store import VaultStore
from icehouse.store.engine import Database
from icehouse.store.start_options import asked_for
from icehouse.vault.init import MODULE, make_vault
from icehouse.vault.settings import Settings
from servers.pgbouncer import PgBouncer

THREADS = 8
HANG = 110
"""A pooler lets a client wait for 120 seconds."""


@pytest.fixture
def pooler(postgresql):
    """Poolers in front of the server; they end with the test."""
    begun = []

    def begin(mode, size, **settings):
        begun.append(PgBouncer(postgresql, mode, size, **settings))
        return begun[-1]

    yield begin
    for one in begun:
        one.__exit__()


def direct(postgresql):
    """The URL of a database of its own, which needs no start-up option."""
    return postgresql.conninfo(postgresql.new_database())


def test_settings_of_one_schema_do_not_open_the_vault_of_another(postgresql, pooler, tmp_path):
    url = direct(postgresql)
    postgresql.admin("CREATE SCHEMA s1", url.rpartition("/")[2])
    make_vault(tmp_path / "public", Settings(url, MODULE))
    asked = f"{pooler('session', 5).url(url)}?options=-csearch_path%3Ds1"
    with pytest.raises(StoreError, match="search_path is '\"\\$user\", public', not 's1'") as caught:
        VaultStore.open(asked)
    with pytest.raises(StoreError, match="did not take what its URL asks for"):
        make_vault(tmp_path / "s1", Settings(asked, MODULE))

    assert "drops start-up options" in str(caught.value.hint)
    with FrostService.open(tmp_path / "public") as frost:
        assert frost.create_users(["alice"]).created == 1
        assert frost.check() == 1


def test_every_other_setting_that_was_asked_for_is_asked_of_the_server_as_well(postgresql, pooler):
    url = direct(postgresql)
    through = pooler("session", 5).url(url)
    for option, is_now in (
        ("-csynchronous_commit%3Dremote_apply", "synchronous_commit is 'on'"),
        ("--work-mem=9MB", "4MB"),
    ):
        VaultStore.open(f"{url}?options={option}")
        with pytest.raises(StoreError, match=is_now):
            VaultStore.open(f"{through}?options={option}")

    assert VaultStore.open(f"{through}?options=-cwork_mem%3D4096kB") is None


def test_a_schema_that_the_role_has_behind_the_pooler_is_taken(postgresql, pooler, tmp_path):
    url = direct(postgresql)
    name = url.rpartition("/")[2]
    postgresql.admin("CREATE ROLE behind LOGIN SUPERUSER")
    postgresql.admin("CREATE SCHEMA s1", name)
    postgresql.admin(f"ALTER ROLE behind IN DATABASE {name} SET search_path = s1, public")
    through = pooler("session", 8).url(url).replace("postgres@", "behind@")
    make_vault(tmp_path / "vault", Settings(f"{through}?options=-csearch_path%3Ds1,public", MODULE))

    assert postgresql.admin("SELECT count(*) FROM s1.vault", name) == [(1,)]


def test_a_vault_that_the_second_schema_of_a_search_path_holds_is_not_this_ones(postgresql, tmp_path):
    url = direct(postgresql)
    postgresql.admin("CREATE SCHEMA s1", url.rpartition("/")[2])
    make_vault(tmp_path / "public", Settings(url, MODULE))
    make_vault(tmp_path / "s1", Settings(f"{url}?options=-csearch_path%3Ds1,public", MODULE))
    ids = []
    for name in ("public", "s1"):
        with FrostService.open(tmp_path / name) as frost:
            ids.append(frost.vault.vault_id)
            frost.create_users(["alice"])
            assert frost.check() == 1

    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ("-c search_path=a", {"search_path": "a"}),
        ("-csearch_path=a,b --work-mem=1MB", {"search_path": "a,b", "work_mem": "1MB"}),
        (r"-c search_path=a,\ b\\ -B 10", {"search_path": "a, b\\"}),
        ("-c search_path=a -c Search_Path=b", {"search_path": "b"}),
        ("-e -c", {}),
        ("", {}),
    ],
)
def test_start_up_options_are_read_as_libpq_does(options, asked):
    assert asked_for(options) == asked


@pytest.mark.parametrize("round_robin", [0, 1])
@pytest.mark.parametrize(("mode", "size"), [("transaction", 1), ("transaction", 3), ("statement", 3)])
def test_a_pooler_of_transactions_is_refused_and_nothing_is_left_in_its_sessions(
    postgresql, pooler, tmp_path, mode, size, round_robin
):
    url = direct(postgresql)
    bouncer = pooler(mode, size, server_round_robin=round_robin)
    with pytest.raises(StoreError, match="pools transactions or statements") as caught:
        make_vault(tmp_path / "vault", Settings(bouncer.url(url), MODULE))
    with psycopg.connect(bouncer.url(url), autocommit=True) as client:
        left = client.execute("SELECT current_setting('lock_timeout'), current_setting('search_path')").fetchone()

    assert "pool_mode = session" in str(caught.value.hint)
    assert left == ("0", '"$user", public')
    assert postgresql.admin("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", url.rpartition("/")[2]) == [
        (0,)
    ]
    assert not (tmp_path / "vault").exists()


def test_a_pooler_that_begins_to_pool_transactions_is_noticed_at_the_next_use(postgresql, pooler):
    url = direct(postgresql)
    bouncer = pooler("session", 5)
    house = Database(bouncer.url(url))
    with house.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    bouncer.pool("transaction")
    with house.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    with psycopg.connect(bouncer.url(url)) as other:
        other.execute("SELECT 1")  # its transaction holds the session that was the other's
        with pytest.raises(StoreError, match="pools transactions or statements"), house.read() as connection:
            connection.exec_driver_sql("SELECT 1")
    house.close()


@pytest.mark.parametrize("reset", ["DISCARD ALL", ""])
def test_a_pooler_of_sessions_serves_threads_that_outnumber_them(postgresql, pooler, tmp_path, reset):
    bouncer = pooler("session", 3, server_reset_query=reset)
    house = House(tmp_path, HYBRID, SimulatedHsm(), store_url=bouncer.url(direct(postgresql)))
    try:
        users = [f"user-{number}" for number in range(THREADS)]
        house.service.create_users(users)
        ready = Barrier(THREADS)

        def work(user):
            ready.wait()
            device = house.enrolled(user)
            for _ in range(5):
                house.sign(device)
            device.rotate(house.service)
            return house.key(user).epoch

        with ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(work, user) for user in users]
            epochs = [future.result(HANG) for future in futures]
        assert epochs == [2] * THREADS
        assert house.service.check() == THREADS
    finally:
        house.close()


def test_a_role_with_fewer_connections_than_the_settings_serves_as_well(postgresql, tmp_path):
    postgresql.admin("CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 3")
    postgresql.admin("ALTER ROLE few NOSUPERUSER")
    url = direct(postgresql)
    postgresql.admin(f"ALTER DATABASE {url.rpartition('/')[2]} OWNER TO few")
    house = House(tmp_path, HYBRID, SimulatedHsm(), store_url=url.replace("postgres@", "few@"))
    try:
        house.service.create_users(f"user-{number}" for number in range(THREADS))
        ready = Barrier(THREADS)

        def enrol(number):
            ready.wait()
            return house.enrolled(f"user-{number}").epoch

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(enrol, range(THREADS))) == [1] * THREADS
    finally:
        house.close()


@pytest.fixture
def shell(tmp_path) -> Shell:
    return Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})


def test_workers_behind_a_pooler_find_their_pages_and_do_not_hang(postgresql, pooler, shell):
    shell.do("init", "--store", pooler("session", 3).url(direct(postgresql)))
    shell.do("users", "create", "--count", "1500")
    shell.do("campaign", "start", "verify", "--detach")
    once = shell.start("worker", "--once", "--threads", THREADS, "--format", "json")
    out, err = once.communicate(timeout=HANG)

    assert (once.returncode, json.loads(out or b"{}").get("given_back")) == (0, 0), err
    waiting = shell.start("worker", "--threads", 2, "--format", "json")
    assert shell.do("campaign", "start", "verify", "--format", "json").json["done"] == 1500
    waiting.send_signal(signal.SIGTERM)
    assert waiting.communicate(timeout=HANG)[1].count(b"error") == 0
    assert waiting.returncode == 0


def test_doctor_says_what_is_between(postgresql, pooler, shell):
    url = direct(postgresql)
    shell.do("init", "--store", url)
    assert shell.do("doctor", "--format", "json").json["database"] == "postgresql, connected to the server itself"
    file = shell.vault / "vault.toml"
    text = file.read_text()
    file.write_text(text.replace(url, pooler("session", 5).url(url)))
    assert shell.do("doctor", "--format", "json").json["database"] == "postgresql, through a pooler of sessions"
    file.write_text(text.replace(url, pooler("transaction", 5).url(url)))
    done = shell.run("doctor")

    assert done.code == 2
    assert "pools transactions or statements" in done.err
