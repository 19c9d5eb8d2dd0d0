"""The server ends a connection, restarts, crashes, or its answer is lost: never a half result, and then it goes on."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event

import pytest
from sqlalchemy import update

from icehouse import Device
from icehouse.errors import IcehouseError, StoreError
from icehouse.store.counts import miscounts
from icehouse.store.schema import vault
from servers.lost_answers import LossyWire


def keep_trying(act):
    """Do it again until it is done: what a device, and whoever runs the command line, does."""
    while True:
        try:
            return act()
        except StoreError:
            continue
        except IcehouseError as error:
            if "unavailable" not in str(error):
                raise


def test_a_call_after_a_restart_of_the_server_is_served(postgresql, house):
    alice = house.enrolled("alice")
    for how in (signal.SIGINT, signal.SIGQUIT):
        postgresql.restart(how)
        house.sign(alice)
        alice.rotate(house.service)


def test_while_the_server_is_away_every_call_says_so_and_changes_nothing(postgresql, house):
    alice = house.enrolled("alice")
    postgresql.stop()
    try:
        with pytest.raises(StoreError, match="the database failed"):
            house.service.create_users(["bob"])
        with pytest.raises(StoreError, match="the database failed"):
            house.service.get_shards("alice")
        with pytest.raises(IcehouseError, match="unavailable"):
            alice.rotate(house.service)
    finally:
        postgresql.start()
    alice.rotate(house.service)
    house.sign(alice)

    assert house.service.check() == 1


def test_a_transaction_whose_connection_ends_writes_nothing(postgresql, house):
    store = house.service.vault.store

    def broken(connection):
        connection.execute(update(vault).values(custody="direct"))
        postgresql.end_connections()
        connection.execute(update(vault).values(custody="direct"))

    with pytest.raises(StoreError, match="the database failed"):
        store.database.change(broken)
    assert store.reload().custody == "hybrid"


def test_a_copy_of_a_page_whose_connection_ends_writes_nothing(postgresql, house):
    postgresql.admin(
        "CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END$$"
    )
    schema = house.store_url.rpartition("%3D")[2]
    postgresql.admin(f"CREATE TRIGGER ended AFTER INSERT ON {schema}.claims EXECUTE FUNCTION end_it()")
    with pytest.raises(StoreError, match="the database failed"):
        house.service.create_users(["alice", "bob"])

    assert house.service.vault.store.count() == 0
    postgresql.admin(f"DROP TRIGGER ended ON {schema}.claims")
    assert house.service.create_users(["alice", "bob"]).created == 2
    assert miscounts(house.service.vault.store) == []


@pytest.fixture
def lossy(postgresql, new_house):
    """A vault whose database is at the end of a wire that can lose an answer."""
    wire = LossyWire(postgresql.port)
    house = new_house(url=postgresql.new_url().replace(f":{postgresql.port}/", f":{wire.port}/"))
    yield house, wire
    for service in house.services:
        service.vault.store.close()
    wire.close()


def test_every_message_whose_commit_was_not_answered_is_answered_when_it_comes_again(lossy):
    house, wire = lossy
    house.service.create_users(["alice"])
    token = house.service.enrolment_code("alice")
    alice = Device.create("alice")
    for act in (lambda: alice.enrol(house.service, token), lambda: alice.rotate(house.service)):
        for _ in ("the offer's commit", "the proof's"):
            before = wire.lost
            wire.lose()
            with pytest.raises(IcehouseError, match="unavailable"):
                act()
            assert wire.lost == before + 1
        keep_trying(act)
        house.sign(alice)

    assert house.service.check() == 1


def test_a_page_whose_commit_was_not_answered_is_there_when_it_is_asked_for_again(lossy):
    house, wire = lossy
    house.service.create_users(["first"])
    wire.lose(after=1)  # the commit before it takes the numbers of the rows
    users = [f"user-{number}" for number in range(50)]
    with pytest.raises(StoreError, match="the database failed"):
        house.service.create_users(users)
    again = house.service.create_users(users)

    assert (again.created, again.existing) == (0, 50)
    assert house.service.check() == 51


def test_work_goes_on_through_restarts_and_nothing_is_lost(postgresql, house):
    devices = [house.enrolled(f"device-{number}") for number in range(2)]
    done, rounds, restarts = Event(), SimpleQueue(), (signal.SIGINT, signal.SIGQUIT, signal.SIGINT)

    def serve():
        while not done.is_set():
            for device in devices:
                keep_trying(lambda device=device: device.rotate(house.service))
                keep_trying(lambda device=device: device.sign(house.service, b"hello"))

    def keep_up():
        try:
            for number in range(len(restarts)):
                rounds.put(number)
                keep_trying(lambda number=number: house.service.create_users(f"{number}-{n}" for n in range(60)))
                keep_trying(house.service.upkeep.rewrap)
                keep_trying(house.service.upkeep.reseal)
                keep_trying(house.service.upkeep.trim)
        finally:
            done.set()

    with ThreadPoolExecutor(2) as pool:
        serving, keeping = pool.submit(serve), pool.submit(keep_up)
        for how in restarts:
            rounds.get()
            postgresql.restart(how)
        assert (keeping.result(), serving.result()) == (None, None)

    assert house.service.check() == 2 + 3 * 60
    assert miscounts(house.service.vault.store) == []
    for device in devices:
        house.sign(device)
