"""Two transactions side by side: the second waits where it must, and then sees what the first one did."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier

import pytest

from conformance.custody.house import DIRECT
from icehouse.errors import ConflictError
from icehouse.model import Purpose, Role, RootKey, RootState, StaleRootsError, WrappedKey, user_label
from icehouse.store import data_keys, root_keys
from icehouse.store.bulk import insert_rows
from icehouse.store.engine import GaveWayError
from icehouse.store.schema import keys
from icehouse.upkeep.rewrap import flip, make_next
from icehouse.users.dealing import deal, prepare, write


@contextmanager
def meanwhile(postgresql, database, act):
    """A transaction that is held open until another thread's act waits for it; then both go on.

    Yields the transaction and what the act will have become.
    """
    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            pending = []
            yield connection, pending
            future = pool.submit(act)
            _until_it_waits(postgresql, future)
        pending.append(future.exception() or future.result())


def _until_it_waits(postgresql, future):
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'icehouse'"
    while not postgresql.admin(waiting):
        assert not future.done(), "it did not wait for the other transaction"


def fresh(store, role=Role.KEK):
    return WrappedKey(store.allocate_data_keys(1), Purpose.SERVER, store.record.current(role).label, b"wrapped")


def test_a_root_key_drains_only_after_a_data_key_that_is_being_written_under_it(postgresql, house):
    store = house.service.vault.store
    key, label = fresh(store), store.record.current(Role.KEK).label
    drain = lambda: root_keys.move(store.database, label, RootState.CURRENT, RootState.DRAINING)  # noqa: E731
    with meanwhile(postgresql, store.database, drain) as (connection, outcome):
        data_keys.insert_data_key(connection, key)

    assert outcome == [None]
    with pytest.raises(ConflictError, match="1 data keys are under it"):
        root_keys.begin_retiring(store.database, label)


def test_a_data_key_waits_for_a_root_key_that_is_being_superseded_and_is_refused(postgresql, house):
    store = house.service.vault.store
    key = fresh(store)

    def insert():
        store.database.change(lambda connection: data_keys.insert_data_key(connection, key))

    with meanwhile(postgresql, store.database, insert) as (connection, outcome):
        root_keys.set_state(connection, key.root_key, RootState.CURRENT, RootState.DRAINING)

    assert [type(one) for one in outcome] == [StaleRootsError]
    assert key.number not in {row.number for row in data_keys.counts(store.database)}


def test_a_flip_sees_the_users_key_that_became_current_beside_it(postgresql, new_house):
    house = new_house(DIRECT)
    vault = house.service.vault
    record, database = vault.store.record, vault.store.database
    label = user_label(b"k" * 16, 1)
    root_keys.announce(database, RootKey(label, Role.USER, 1, RootState.MAKING))
    made = make_next(vault, record, [Role.CLAIM])
    with meanwhile(postgresql, database, lambda: flip(vault, record, made)) as (connection, outcome):
        root_keys.make_current(connection, label)

    assert outcome == [None]
    assert root_keys.root_of(database, label).state is RootState.DRAINING


def test_a_users_key_that_is_made_beside_a_flip_never_becomes_current(postgresql, new_house):
    house = new_house(DIRECT)
    vault = house.service.vault
    database, claim = vault.store.database, vault.store.record.current(Role.CLAIM).label
    label = user_label(b"k" * 16, 1)
    root_keys.announce(database, RootKey(label, Role.USER, 1, RootState.MAKING))

    def become():
        database.change(lambda connection: root_keys.make_current(connection, label))

    with meanwhile(postgresql, database, become) as (connection, outcome):
        root_keys.set_state(connection, claim, RootState.CURRENT, RootState.DRAINING)
        root_keys.set_state(connection, label, RootState.MAKING, RootState.RETIRING)

    assert [type(one) for one in outcome] == [ConflictError]
    assert root_keys.root_of(database, label).state is RootState.RETIRING


def test_a_data_key_retires_with_the_record_that_is_being_sealed_under_it(postgresql, house):
    store = house.service.vault.store
    key = fresh(store)
    store.database.change(lambda connection: data_keys.insert_data_key(connection, key))
    retire = lambda: data_keys.begin_retiring(store.database, [key.number])  # noqa: E731
    with meanwhile(postgresql, store.database, retire) as (connection, _):
        data_keys.move_slots(connection, {}, {key.number: 1})

    assert data_keys.drop_empty(store.database) == 0
    (row,) = [row for row in data_keys.counts(store.database) if row.number == key.number]
    assert (row.state, row.live) == ("retiring", 1)


def test_a_row_that_is_being_written_is_waited_for_and_then_another_writers(postgresql, house):
    house.service.create_users(["alice"])
    store, seen = house.service.vault.store, house.key("alice")
    again = lambda: store.replace(seen, replace(seen, due=1))  # noqa: E731
    with meanwhile(postgresql, store.database, again) as (connection, outcome):
        store.replace_in(connection, seen, replace(seen, due=1))

    assert [type(one) for one in outcome] == [ConflictError]
    assert house.key("alice").rev == seen.rev + 1


def test_a_user_who_is_being_made_is_not_made_twice(postgresql, house):
    vault = house.service.vault
    one, two = (deal(vault, prepare(vault, ["alice"], "ed25519")) for _ in range(2))
    write(vault, [one])
    (row,) = house.sql("SELECT * FROM keys")
    house.sql("DELETE FROM claims")
    house.sql("DELETE FROM keys")
    with meanwhile(postgresql, vault.store.database, lambda: write(vault, [two])) as (connection, outcome):
        insert_rows(connection, keys, [row])

    assert [type(one) for one in outcome] == [ConflictError]
    assert vault.store.count() == 1


def test_a_users_key_is_announced_by_two_at_once_under_one_label(postgresql, new_house):
    house = new_house(DIRECT)
    store = house.service.vault.store
    label, claim = user_label(b"k" * 16, 1), store.record.current(Role.CLAIM).label
    announce = lambda: root_keys.announce_users(store.database, [label], claim)  # noqa: E731
    with meanwhile(postgresql, store.database, announce) as (connection, outcome):
        root_keys.add_roots(connection, [RootKey(label, Role.USER, 1, RootState.MAKING)])

    assert outcome == [[label]]


def test_a_root_key_is_announced_once(postgresql, house):
    store = house.service.vault.store
    root = RootKey("icehouse-next", Role.KEK, 2, RootState.MAKING)
    announce = lambda: root_keys.announce(store.database, root)  # noqa: E731
    with meanwhile(postgresql, store.database, announce) as (connection, outcome):
        root_keys.add_roots(connection, [root])

    assert outcome == [False]


def crossed(store, do):
    """Two changes that lock the same two rows in opposite orders, as often as they run for the first time."""
    numbers = [fresh(store) for _ in range(2)]
    for key in numbers:
        store.database.change(lambda connection, key=key: data_keys.insert_data_key(connection, key))
    one, two = (key.number for key in numbers)
    barrier, met = Barrier(2), set()

    def work(connection, first, second):
        data_keys.move_slots(connection, {}, {first: 1})
        if first not in met:
            met.add(first)
            barrier.wait()
        data_keys.move_slots(connection, {}, {second: 1})

    with ThreadPoolExecutor(2) as pool:
        orders = ((one, two), (two, one))
        futures = [pool.submit(do, lambda connection, order=order: work(connection, *order)) for order in orders]
    return numbers, [future.exception() for future in futures]


def test_of_two_changes_that_wait_for_each_other_one_is_done_again(house):
    store = house.service.vault.store
    numbers, errors = crossed(store, store.database.change)

    assert errors == [None, None]
    live = {row.number: row.live for row in data_keys.counts(store.database)}
    assert [live[key.number] for key in numbers] == [2, 2]


def test_a_plain_transaction_that_gave_way_says_so_and_wrote_nothing(house):
    store = house.service.vault.store

    def plain(work):
        with store.database.write() as connection:
            work(connection)

    numbers, errors = crossed(store, plain)

    assert sorted(type(error).__name__ for error in errors) == [GaveWayError.__name__, "NoneType"]
    live = {row.number: row.live for row in data_keys.counts(store.database)}
    assert [live[key.number] for key in numbers] == [1, 1]
