"""What a store promises, on both databases."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from threading import Barrier

import pytest
from sqlalchemy import insert, select, text, update

from consenting import trimmed
from icehouse.errors import ConflictError, RequestError, SealError, StoreError
from icehouse.model import (
    RECORDS_PER_DATA_KEY,
    Purpose,
    Role,
    RootKey,
    RootState,
    StaleRootsError,
    VaultRecord,
    WrappedKey,
    root_label,
)
from icehouse.store import DataKeyFullError, VaultStore, data_keys, migrate, root_keys
from icehouse.store.counts import miscounts
from icehouse.store.engine import Database
from icehouse.store.schema import data_keys as data_key_table
from icehouse.store.schema import keys, metadata, vault
from icehouse.store.sweep import write_page
from icehouse.users.dealing import deal, prepare, write

THREADS = 8


def record(vault_id: bytes = bytes(16)) -> VaultRecord:
    roots = (
        RootKey(root_label(vault_id, Role.CLAIM, 1), Role.CLAIM, 1, RootState.CURRENT),
        RootKey(root_label(vault_id, Role.KEK, 1), Role.KEK, 1, RootState.CURRENT),
    )
    return VaultRecord(vault_id, "hybrid", 0, roots, b"a seal")


def at_once(*acts):
    """Do these at the same moment; what each answered or raised."""
    barrier = Barrier(len(acts))

    def run(act):
        barrier.wait()
        try:
            return act()
        except Exception as exc:  # noqa: BLE001  the test looks at it
            return exc

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


# Founding


def test_a_vault_is_found_again_as_it_was_made(new_url):
    url = new_url()
    VaultStore.create(url, record()).close()
    opened = VaultStore.open(url)

    assert opened is not None
    assert opened.record == record()
    opened.close()


def test_an_empty_database_holds_no_vault(new_url):
    assert VaultStore.open(new_url()) is None


def test_a_database_of_another_program_is_left_alone(new_url):
    url = new_url()
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE theirs (x INTEGER)"))
    database.close()

    with pytest.raises(StoreError, match="other tables and no vault"):
        VaultStore.open(url)


def test_of_two_that_found_a_vault_at_once_one_is_refused(new_url):
    url = new_url()
    made = at_once(*[lambda n=n: VaultStore.create(url, record(bytes([n]) * 16)) for n in range(4)])

    refused = [outcome for outcome in made if isinstance(outcome, Exception)]
    assert [type(outcome) for outcome in refused] == [ConflictError] * 3, refused
    (winner,) = (outcome for outcome in made if isinstance(outcome, VaultStore))
    opened = VaultStore.open(url)
    assert opened is not None
    assert opened.record == winner.record
    opened.close()
    winner.close()


def test_tables_of_another_version_are_refused_with_what_helps(new_url):
    url = new_url()
    store = VaultStore.create(url, record())
    with store.database.write() as connection:
        connection.execute(text("UPDATE icehouse_version SET version_num = '9999'"))
    store.close()

    with pytest.raises(StoreError, match="schema 9999") as caught:
        VaultStore.open(url)
    assert "newer" in str(caught.value.hint)


def test_migrations_run_once_however_often_they_are_asked_for(new_url):
    url = new_url()
    databases = [Database(url) for _ in range(3)]

    assert at_once(*[lambda one=one: migrate.upgrade(one) for one in databases]) == [None] * 3
    with databases[0].read() as connection:
        migrate.check(connection)
    for database in databases:
        database.close()


def test_the_newest_migration_is_the_one_that_the_code_knows(new_url):
    database = Database(new_url())
    migrate.upgrade(database)
    with database.read() as connection:
        newest = connection.execute(text("SELECT version_num FROM icehouse_version")).scalar_one()
    database.close()

    assert newest == migrate.HEAD


def test_the_tables_are_those_that_the_code_names(new_url):
    store = VaultStore.create(new_url(), record())
    with store.database.read() as connection:
        for table in metadata.sorted_tables:
            assert connection.execute(select(table)).keys() is not None
    store.close()


# Conditional writes


def test_of_two_changes_to_one_row_the_second_is_refused(house):
    house.service.create_users(["alice"])
    seen, store = house.key("alice"), house.service.vault.store
    store.replace(seen, replace(seen, due=1))

    with pytest.raises(ConflictError, match="changed by someone else"):
        store.replace(seen, replace(seen, due=1))


def test_of_many_changes_at_once_exactly_one_is_made(house):
    house.service.create_users(["alice"])
    seen, store = house.key("alice"), house.service.vault.store
    outcomes = at_once(*[lambda: store.replace(seen, replace(seen, due=1))] * THREADS)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError"] * (THREADS - 1) + ["Key"]
    assert house.key("alice").rev == seen.rev + 1


def test_numbers_are_given_once(house):
    store = house.service.vault.store
    given = at_once(*[lambda: [store.allocate_data_keys(3) for _ in range(10)]] * THREADS)

    firsts = sorted(first for some in given for first in some)
    assert all(after - before == 3 for before, after in pairwise(firsts))
    assert len(firsts) == 10 * THREADS


def test_a_counter_that_was_put_back_is_noticed(house):
    house.service.create_users(["alice"])
    store = house.service.vault.store
    with store.database.write() as connection:
        connection.execute(update(vault).values(next_data_key=1, next_key=1))

    with pytest.raises(SealError, match="put back"):
        store.allocate_data_keys(1)
    with pytest.raises(SealError, match="put back"):
        store.allocate_keys(1)


def test_a_data_key_never_takes_more_records_than_its_limit(house):
    store = house.service.vault.store
    number = store.allocate_data_keys(1)
    label = house.service.vault.store.record.current(Role.KEK).label
    with store.database.write() as connection:
        data_keys.insert_data_key(connection, WrappedKey(number, Purpose.SERVER, label, b"wrapped"))

    def take():
        taken = 0
        while True:
            try:
                store.database.change(lambda connection: data_keys.move_slots(connection, {}, {number: 40}))
            except DataKeyFullError:
                return taken
            taken += 40

    taken = sum(at_once(*[take] * THREADS))
    (counted,) = [row for row in data_keys.counts(store.database) if row.number == number]

    assert (taken, counted.used, counted.live) == (1000, 1000, 1000)
    assert taken + 40 > RECORDS_PER_DATA_KEY


def test_a_retiring_data_key_takes_nothing_and_goes_only_when_it_is_empty(house):
    house.service.create_users(["alice"])
    store = house.service.vault.store
    numbers = [row.number for row in data_keys.counts(store.database)]
    data_keys.begin_retiring(store.database, numbers)

    assert data_keys.drop_empty(store.database) == 0
    with pytest.raises(DataKeyFullError):
        store.database.change(lambda connection: data_keys.move_slots(connection, {}, {numbers[0]: 1}))
    house.service.upkeep.reseal(numbers)
    assert data_keys.drop_empty(store.database) == len(numbers)


def test_no_data_key_comes_under_a_root_key_that_is_not_current(house):
    store = house.service.vault.store
    label = store.record.current(Role.KEK).label
    late = WrappedKey(store.allocate_data_keys(1), Purpose.SERVER, label, b"wrapped")
    root_keys.move(store.database, label, RootState.CURRENT, RootState.DRAINING)

    with pytest.raises(StaleRootsError):
        store.database.change(lambda connection: data_keys.insert_data_key(connection, late))


def test_what_a_change_raises_undoes_it(house):
    store = house.service.vault.store

    def half(connection):
        connection.execute(update(vault).values(custody="direct"))
        msg = "enough"
        raise RequestError(msg)

    with pytest.raises(RequestError, match="enough"):
        store.database.change(half)
    assert store.reload().custody == "hybrid"


# Pages


def test_a_page_with_a_user_who_has_a_key_is_not_written_at_all(house):
    other = house.another_process()
    house.service.create_users(["bob"])
    dealt = deal(other.vault, prepare(other.vault, ["alice", "bob", "carol"], "ed25519"))
    with pytest.raises(ConflictError, match="has a key already"):
        write(other.vault, [dealt])

    assert house.service.vault.store.count() == 1
    assert miscounts(house.service.vault.store) == []


def test_two_processes_that_make_the_same_users_make_each_once(house):
    other = house.another_process()
    users = [f"user-{number}" for number in range(2500)]
    outcomes = at_once(lambda: house.service.create_users(users), lambda: other.create_users(reversed(users)))

    assert sum(outcome.created for outcome in outcomes) == len(users)
    assert sum(outcome.existing for outcome in outcomes) == len(users)
    assert house.service.check() == len(users)
    assert miscounts(house.service.vault.store) == []


def test_a_page_of_changes_is_written_whole_or_not_at_all(house):
    house.service.create_users(["alice", "bob", "carol"])
    store = house.service.vault.store
    seen = [house.key(user) for user in ("alice", "bob", "carol")]
    store.replace(seen[1], replace(seen[1], due=1))

    with pytest.raises(ConflictError):
        write_page(store, [(key, replace(key, due=1)) for key in seen])
    assert [house.key(user).due for user in ("alice", "bob", "carol")] == [0, 1, 0]


def test_a_page_of_changes_leaves_what_single_changes_leave(house):
    house.enrolled("bob")
    house.service.create_users(["alice", "carol"])
    house.service.enrolment_code("carol")
    store = house.service.vault.store
    seen = [house.key(user) for user in ("alice", "bob", "carol")]
    write_page(store, [(key, replace(key, due=1)) for key in seen])

    written = [house.key(user) for user in ("alice", "bob", "carol")]
    expected = [replace(key, due=1, rev=key.rev + 1) for key in seen]
    assert [replace(key, changed=0) for key in written] == [replace(key, changed=0) for key in expected]
    assert miscounts(store) == []


def test_two_processes_that_reseal_at_once_lose_nothing(house):
    devices = [house.enrolled(user) for user in ("alice", "bob")]
    house.service.create_users(f"user-{number}" for number in range(600))
    other = house.another_process()
    outcomes = at_once(house.service.upkeep.reseal, other.upkeep.reseal)

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert house.service.check() == 602
    assert miscounts(house.service.vault.store) == []
    for device in devices:
        house.sign(device)


def test_users_are_made_while_another_process_rewraps(house):
    other = house.another_process()
    house.service.create_users(f"before-{number}" for number in range(1100))
    outcomes = at_once(
        lambda: [other.upkeep.rewrap() for _ in range(3)],
        lambda: house.service.create_users(f"user-{number}" for number in range(4000)),
    )

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert house.service.check() == 5100
    assert miscounts(house.service.vault.store) == []
    other.upkeep.rewrap()
    trimmed(other)
    assert house.another_process().check() == 5100


# Names

NAMES = (
    "a", "ß", "日本語", "\u202e", "\x01", "\x7f", "%s", "%(x)s", "'; DROP TABLE keys; --", '"', "\\", "\\x00", "\n",
    " ", "\ufffe", "\U0010ffff", "e\u0301", "\u00e9", "x" * 255, "🧊" * 63, "{}", "?", ":name", "\t\r", "NULL",
)  # fmt: skip


def test_every_name_that_is_taken_is_found_again(house):
    house.service.create_users(NAMES)

    assert [key.user for key in house.service.vault.store.every_key()] == list(NAMES)
    for name in NAMES:
        assert house.service.get_shards(name).user_id == name


def test_a_name_that_one_database_cannot_hold_is_refused_on_both(house):
    with pytest.raises(RequestError, match=r"U\+0000"):
        house.service.create_users(["a\0b"])


# Processes


def test_a_child_of_a_fork_opens_connections_of_its_own(house):
    house.service.create_users(["alice"])
    pid = os.fork()
    if pid == 0:
        try:
            house.service.create_users(["bob"])
        finally:
            os._exit(0 if house.service.vault.store.count() == 2 else 1)
    _, status = os.waitpid(pid, 0)

    assert status == 0
    assert house.service.check() == 2


def test_a_child_of_a_fork_deals_on_threads_of_its_own(house):
    house.service.create_users([f"parents-{number}" for number in range(200)])
    pid = os.fork()
    if pid == 0:
        try:
            house.service.create_users([f"childs-{number}" for number in range(200)])
        finally:
            os._exit(0 if house.service.check() == 400 else 1)
    _, status = os.waitpid(pid, 0)

    assert status == 0
    assert house.service.check() == 400


def test_a_row_of_a_foreign_type_or_value_is_refused(house):
    house.service.create_users(["alice"])
    with house.service.vault.store.database.write() as connection:
        connection.execute(update(keys).values(state=99))

    with pytest.raises(SealError):
        house.service.get_shards("alice")


def test_a_data_key_number_is_taken_once(house):
    store = house.service.vault.store
    label = store.record.current(Role.KEK).label
    row = {
        "number": 7,
        "purpose": "server",
        "root_key": label,
        "wrapped": b"x",
        "state": "filling",
        "used": 0,
        "live": 0,
    }
    with store.database.write() as connection:
        connection.execute(insert(data_key_table), [row])

    with pytest.raises(SealError, match="put back"):
        store.allocate_data_keys(1)
