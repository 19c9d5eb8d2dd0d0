"""Any number of threads use one SQLite vault, whether they live on afterwards or not."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Event, Thread

import pytest

from icehouse import Device
from icehouse.campaigns.control import Campaigns
from icehouse.errors import RequestError, StoreError
from icehouse.store.campaigns import CampaignState
from icehouse.store.counts import miscounts
from icehouse.store.engine import CONNECTIONS, Database

THREADS = 64
HANG = 300
"""Ten times what these tests take on a slow machine."""


def open_files(file: Path) -> int:
    """How many descriptors of this process are of a database and what lies beside it."""
    names = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own, and what another thread closes just now
            names.append(str(link.readlink()))
    return sum(name.startswith(str(file)) for name in names)


def test_64_threads_that_live_on_enrol_rotate_sign_and_create(frost):
    users = [f"user-{number}" for number in range(THREADS)]
    frost.create_users(users)
    together = Barrier(THREADS)

    def work(user: str) -> int:
        frost.get_shards(user)
        together.wait(HANG)  # every thread has used the vault by now, and is still there
        device = Device.create(user)
        device.enrol(frost, frost.enrolment_code(user))
        device.rotate(frost)
        device.sign(frost, b"hello")
        frost.create_user_frost_shards(f"another-{user}")
        together.wait(HANG)
        return device.epoch

    with ThreadPoolExecutor(THREADS) as pool:
        epochs = list(pool.map(work, users))

    assert epochs == [2] * THREADS
    assert frost.check() == 2 * THREADS
    assert miscounts(frost.vault.store) == []


def test_fourteen_threads_that_only_looked_stop_nobody(frost):
    frost.create_users(["alice"])
    looked, done = Barrier(15), Event()

    def look() -> None:
        frost.get_shards("alice")
        looked.wait(HANG)
        done.wait(HANG)

    threads = [Thread(target=look) for _ in range(14)]
    for thread in threads:
        thread.start()
    looked.wait(HANG)
    try:
        made = frost.create_users(["bob"]).created
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert made == 1


def test_threads_that_ended_leave_nothing(frost, file):
    frost.create_users(f"user-{number}" for number in range(THREADS))

    def burst() -> int:
        together = Barrier(THREADS)

        def look(number: int) -> None:
            together.wait(HANG)
            frost.get_shards(f"user-{number}")
            frost.rotate_user_frost_shards(f"user-{number}")

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(look, range(THREADS)))
        return open_files(file)

    after = [burst() for _ in range(3)]

    # Each connection opens the database and its journal; what both are mapped by is opened once.
    assert max(after) <= 2 * (CONNECTIONS + 1) + 1
    frost.close()
    assert open_files(file) == 0


def test_a_campaign_has_more_threads_than_connections(frost):
    frost.create_users(f"user-{number}" for number in range(100))
    office = Campaigns(frost.vault)
    number = office.start("reseal").id

    assert office.run(number, 20, Event()) is CampaignState.DONE
    assert frost.check() == 100


def test_more_threads_than_connections_take_turns(file):
    database = Database(f"sqlite:///{file}", connections=2)
    together = Barrier(8)

    def work(_: int) -> int:
        together.wait(HANG)
        for _ in range(50):
            with database.read() as connection:
                connection.exec_driver_sql("SELECT 1").all()
        together.wait(HANG)
        return open_files(file)

    with ThreadPoolExecutor(8) as pool:
        most = max(pool.map(work, range(8)))
    database.close()

    assert most <= 2 * 2 + 1


def test_a_reader_who_finds_no_connection_is_told_which_setting_allows_more(file, monkeypatch):
    monkeypatch.setattr("icehouse.store.sqlite.WAIT_SECONDS", 0.1)
    few, more = (Database(f"sqlite:///{file}", connections=number) for number in (1, 2))

    def read_beside(database: Database) -> None:
        with database.read(), ThreadPoolExecutor(1) as pool:
            pool.submit(_read, database).result()

    with pytest.raises(StoreError, match="no connection") as told:
        read_beside(few)
    read_beside(more)

    assert told.value.hint == "raise the setting store.connections"


def test_a_process_has_at_least_one_connection(file):
    with pytest.raises(RequestError, match=r"store\.connections must be 1 or more, not 0"):
        Database(f"sqlite:///{file}", connections=0)


def test_a_thread_that_asks_for_a_second_connection_is_refused_instead_of_waiting_for_itself(file):
    database = Database(f"sqlite:///{file}", connections=1)
    with database.write(), pytest.raises(StoreError, match="has a connection to the database already"):
        _read(database)
    with database.read(), pytest.raises(StoreError, match="has a connection to the database already"):
        _read(database)

    _read(database)
    database.close()


def test_a_file_beside_which_sqlite_keeps_no_journal_is_refused(tmp_path):
    database = Database(f"sqlite:///file:{tmp_path}/vault.db?vfs=unix-none&uri=true")
    with pytest.raises(StoreError, match="cannot keep a write-ahead log beside this database: its journal is 'delete'"):
        _read(database)
    database.close()


def test_a_child_of_a_fork_uses_connections_of_its_own(frost, file):
    frost.create_users(["alice"])
    child = os.fork()
    if child == 0:
        before = open_files(file)
        frost.rotate_user_frost_shards("alice")
        os._exit(0 if open_files(file) > before else 1)
    signal.alarm(HANG)
    try:
        assert os.waitpid(child, 0)[1] == 0
    finally:
        signal.alarm(0)

    assert frost.check() == 1


def _read(database: Database) -> None:
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1").all()
