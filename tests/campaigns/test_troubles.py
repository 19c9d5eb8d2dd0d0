"""What keeps a worker from its work: it says so, nothing is lost, and another worker goes on."""

from __future__ import annotations

import sqlite3
from threading import Event

import pytest
from sqlalchemy import event

from campaigns.place import enrolled
from icehouse.campaigns import control, worker
from icehouse.campaigns.worker import WorkerPool
from icehouse.errors import HsmError, HsmUnavailableError, StoreError
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.store.campaigns import CampaignState
from icehouse.store.selection import Filters
from icehouse.store.vault_store import VaultStore

USERS = 2500


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    """Workers that wait for nothing."""
    monkeypatch.setattr(worker, "_FIRST_DELAY", 0.0)


def finished(place, number, total):
    """Whether another worker ends the campaign with every key done once."""
    assert place.office.run(number, 2, Event()) is CampaignState.DONE
    progress = place.office.report(number).progress
    assert (progress.done, progress.skipped, progress.failed) == (total, 0, 0)
    place.check(USERS)


def test_an_hsm_that_stays_away_ends_the_worker_and_not_the_campaign(place_of, monkeypatch):
    place = place_of("hybrid", USERS)
    number = place.office.start("rewrap").id
    total = place.office.report(number).campaign.matched
    left = 10

    def away(_hsm, _operation):
        nonlocal left
        left -= 1
        if left < 0:
            raise HsmUnavailableError
        return admitted(_hsm, _operation)

    admitted = SimulatedHsm._admitted
    with monkeypatch.context() as patched:
        patched.setattr(SimulatedHsm, "_admitted", away)
        with pytest.raises(HsmError):
            place.office.run(number, 1, Event())
    assert place.office.report(number).campaign.state is CampaignState.RUNNING

    finished(place, number, total)


def test_a_full_disk_ends_the_worker_and_not_the_campaign(place_of):
    place = place_of("hybrid", USERS)
    place.sql("UPDATE keys SET record = zeroblob(61)")  # so that there are many findings to be written
    number = place.office.start("verify").id
    # A database that may grow no further than it is: SQLite says of it what it says of a full disk.
    crowded = place.open().vault
    pages = place.number("PRAGMA page_count")
    crowded.store.database.engine.dispose()

    def crowd(connection, _record):
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(crowded.store.database.engine, "connect", crowd)
    with pytest.raises(StoreError, match="full"):
        WorkerPool(crowded, 1, campaign=number).run()
    # Of each page all findings are there and it is done, or none are and it is not.
    progress = place.office.report(number).progress
    assert progress.failed == place.number("SELECT coalesce(sum(failed), 0) FROM pages WHERE state = 'done'") < USERS

    assert place.office.run(number, 2, Event()) is CampaignState.DONE
    assert place.office.report(number).progress.failed == USERS


def test_a_database_that_vanishes_ends_the_worker_and_not_the_campaign(place_of):
    place = place_of("hybrid", USERS)
    number = place.office.start("verify").id
    lost = place.open().vault
    file, hidden = place.directory / "vault.db", place.directory / "hidden.db"
    lost.store.database.engine.dispose()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    place.close()
    file.rename(hidden)
    with pytest.raises(StoreError):
        WorkerPool(lost, 1, campaign=number).run()
    file.unlink(missing_ok=True)
    hidden.rename(file)

    finished(place, number, USERS)


def test_a_schema_that_changes_under_a_worker_ends_it(place_of):
    place = place_of("hybrid", USERS)
    number = place.office.start("verify").id
    place.sql("UPDATE icehouse_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="schema 9999"):
        place.office.run(number, 2, Event())
    place.sql("UPDATE icehouse_version SET version_num = '0002'")

    finished(place, number, USERS)


def test_a_device_that_rotates_while_its_page_is_resealed_loses_nothing(place_of):
    place = place_of("hybrid", USERS)
    device = enrolled(place.frost, "u700")
    number = place.office.start("reseal").id
    stop = Event()

    def rotate(_):
        device.rotate(place.frost)

    place.office.run(number, 1, stop, rotate)
    progress = place.office.report(number).progress

    assert progress.done + progress.skipped == USERS
    device.sign(place.frost, b"hello")
    place.check(USERS)


def test_a_user_who_enrols_while_his_page_is_destroyed_keeps_his_key(place_of, monkeypatch):
    place = place_of("hybrid", 300)
    enrolled_meanwhile = []
    remove_all = VaultStore.remove_all

    def removing(store, changes):
        if not enrolled_meanwhile:
            enrolled_meanwhile.append(enrolled(place.open(), "u100"))
        remove_all(store, changes)

    monkeypatch.setattr(VaultStore, "remove_all", removing)
    number = place.office.start("destroy", Filters(state="dealt")).id
    place.office.run(number, 1, Event())
    progress = place.office.report(number).progress

    assert (progress.done, progress.skipped, progress.failed) == (295, 1, 0)
    assert place.frost.get_shards("u100").state == "live"
    enrolled_meanwhile[0].sign(place.frost, b"hello")
    place.check(300)


def test_a_user_who_is_made_while_a_reseal_begins_is_moved_like_the_others(place_of, monkeypatch):
    place = place_of("hybrid", 300)
    retire = control.move_records.retire

    def retiring(vault, numbers):
        place.open().create_user_frost_shards("late")
        retire(vault, numbers)

    monkeypatch.setattr(control.move_records, "retire", retiring)
    before = place.number("SELECT max(number) FROM data_keys")
    place.campaign("reseal")

    assert place.number("SELECT sum(live) FROM data_keys WHERE number <= ?", before) == 0
    place.check(301)
