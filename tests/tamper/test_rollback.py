"""Old rows and old databases put back: what is noticed, and exactly what is not."""

from __future__ import annotations

import logging

import pytest

from icehouse._core import data_key_to_bytes
from icehouse.device.device import Device
from icehouse.device.file import MemoryFile
from icehouse.errors import RequestError, SealError, StaleEpochError
from icehouse.model import Purpose
from tamper.attacker import ED25519_ORDER, open_record, reason_of, row_context, times_base
from tamper.probes import copy_of
from tamper.world import USERS

ALARM = "was the database rolled back?"


def alarms(caplog):
    return [record for record in caplog.records if record.levelno == logging.CRITICAL]


def test_a_device_file_copied_before_a_rotation_is_refused_by_the_live_vault(world):
    world.bring_to("live")
    alice = world.devices["alice"]
    stolen = copy_of(alice)
    world.rotate(alice)
    _, question = stolen.ask_signature(b"pay mallory")

    assert world.say(question) == '{"v":1,"type":"refused","reason":"unknown-epoch"}'


def test_a_device_that_finds_its_epoch_unknown_says_so_and_keeps_everything(world):
    world.bring_to("live")
    stolen = copy_of(world.devices["alice"])
    world.rotate(world.devices["alice"])
    device = Device(stolen, MemoryFile())

    with pytest.raises(StaleEpochError, match="this device file is an old copy, or the vault was rolled back"):
        device.sign(world.service, b"text")
    assert device.epoch == 1


def test_a_device_whose_epoch_the_vault_dealt_anew_after_a_rollback_is_told_so_and_keeps_everything(world):
    world.bring_to("live")
    alice = world.devices["alice"]
    before, older = world.snapshot(), copy_of(alice)
    world.rotate(alice)
    world.restore(before)
    world.rotate(older)
    device = Device(alice, MemoryFile())

    with pytest.raises(StaleEpochError, match="an older state of the vault") as told:
        device.sign(world.service, b"text")
    assert "put back a newer state of its database" in told.value.hint
    assert device.epoch == 2


def test_a_device_of_a_suspended_key_is_told_who_can_resume_it(world):
    world.bring_to("live")
    world.service.suspend_user("alice")
    device = Device(world.devices["alice"], MemoryFile())

    with pytest.raises(RequestError, match="'alice' is suspended") as told:
        device.sign(world.service, b"text")
    assert "icehouse users resume" in told.value.hint


def test_a_copy_from_before_a_rotation_signs_with_a_vault_put_back_to_that_time(world, caplog):
    """What rollback gives away, and what SECURITY.md says about it."""
    world.bring_to("live")
    alice = world.devices["alice"]
    before, stolen = world.snapshot(), copy_of(alice)
    world.rotate(alice)
    world.restore(before)
    signature = world.sign(stolen)

    world.key().group.verify(b"text", signature)
    assert alarms(caplog) == []  # nothing in the database tells the vault that it is old


def test_a_device_at_a_newer_epoch_is_refused_by_a_vault_put_back_and_raises_the_alarm(world, caplog):
    world.bring_to("live")
    alice, before = world.devices["alice"], world.snapshot()
    world.rotate(alice)
    world.restore(before)
    answer = world.say(alice.ask_signature(b"text")[1])

    assert reason_of(answer) == "bare:unknown-epoch"
    assert [ALARM in record.message for record in alarms(caplog)] == [True]


@pytest.mark.parametrize("ask", ["sign", "status", "abandon", "rotate"])
def test_a_vault_put_back_to_a_standing_offer_notices_the_device_that_committed_it(world, caplog, ask):
    world.bring_to("rotating")
    alice, before = world.devices["alice"], world.snapshot()
    world.finish(alice)
    world.restore(before)
    alice.prepare()
    question = {
        "sign": lambda: alice.ask_signature(b"text")[1],
        "status": alice.ask_status,
        "abandon": lambda: alice.ask_abandon(bytes(16)),
        "rotate": alice.ask,
    }[ask]()

    assert reason_of(world.say(question)) == "wrong-epoch"
    assert [ALARM in record.message for record in alarms(caplog)] == [True]


def test_a_vault_put_back_changes_nothing_when_a_newer_device_speaks(world):
    world.bring_to("live")
    alice, before = world.devices["alice"], world.snapshot()
    world.rotate(alice)
    world.restore(before)
    world.say(alice.ask_status())

    assert world.snapshot() == before


def test_an_old_row_alone_put_back_is_refused_when_its_data_key_was_not(world):
    world.bring_to("live")
    before = world.snapshot()
    world.rotate(world.devices["alice"])
    now = world.snapshot()
    mixed = [row if row[4] == "alice" else current for row, current in zip(before["keys"], now["keys"], strict=True)]
    world.restore({**now, "keys": mixed})
    world.bend("data_keys", "state", "gone", "1")

    with pytest.raises(SealError, match="no data key"):
        world.service.check_user("alice")


def test_a_whole_unclaimed_row_put_back_makes_its_old_code_good_again(world):
    """Why an old backup of an unclaimed key is as good as its code: SECURITY.md says so."""
    world.bring_to("claiming")
    alice = world.devices["alice"]
    before, thief = world.snapshot(), copy_of(alice)
    world.finish(alice)
    world.restore(before)
    world.finish(thief)

    world.key().group.verify(b"text", world.sign(thief))
    assert reason_of(world.say(alice.ask_status())) == "state"  # the same epoch, the same offer: the same shares


@pytest.mark.parametrize("table", ["keys", "claims", "offers"])
def test_a_part_of_the_row_from_before_the_first_commit_is_refused(world, table):
    world.bring_to("claiming")
    before = world.snapshot()
    for user in USERS:
        world.finish(world.devices[user])
    world.restore(before, table)

    assert reason_of(world.say(world.devices["alice"].ask_status())) in {"bare:unavailable", "bare:unknown-epoch"}
    with pytest.raises(SealError, match="alice"):
        world.service.check_user("alice")


def test_an_old_offer_put_back_after_it_was_abandoned_is_refused(world):
    world.bring_to("rotating")
    alice, before = world.devices["alice"], world.snapshot()
    world.prove(alice)
    late = alice.ask_commit()
    alice.accept_abandoned(None, world.say(alice.ask_abandon()))
    world.restore(before, "offers")

    assert reason_of(world.say(late)) == "bare:unavailable"
    with pytest.raises(SealError, match="alice"):
        world.service.check_user("alice")


def test_an_offer_hidden_from_the_vault_is_missed_before_its_device_is_told_that_it_is_gone(world):
    """Else the row, put back with the recorded proof, would commit an epoch whose share the device gave up."""
    world.bring_to("rotating")
    alice, before = world.devices["alice"], world.snapshot()
    world.prove(alice)
    world.sql("DELETE FROM offers")

    assert reason_of(world.say(alice.ask_commit())) == "bare:unknown-epoch"
    assert reason_of(world.say(alice.ask_abandon())) == "bare:unavailable"
    world.restore(before)
    alice.accept_commit(world.say(alice.ask_commit()))
    assert alice.facts()["epoch"] == 2


def test_a_claim_offer_hidden_from_the_vault_is_missed(world):
    world.bring_to("claiming")
    world.sql("DELETE FROM offers")

    assert reason_of(world.say(world.devices["alice"].ask_abandon())) == "bare:unavailable"
    with pytest.raises(SealError, match="does not open"):
        world.service.check_user("alice")


def test_an_offer_of_before_a_newer_code_put_back_is_refused(world):
    world.bring_to("claiming")
    alice, before = world.devices["alice"], world.snapshot()
    proof = alice.ask_proof()[1]
    alice.take_token(world.service.enrolment_code("alice"))
    world.restore(before, "offers")

    assert reason_of(world.say(proof)) == "bare:unavailable"
    assert reason_of(world.say(alice.ask_status())) == "bare:unavailable"


def test_an_old_salt_put_back_does_not_make_an_old_code_good_again(world):
    world.bring_to("code")
    old = copy_of(world.devices["alice"])
    salt = world.sql("SELECT salt FROM keys WHERE user = 'alice'")[0][0]
    world.service.enrolment_code("alice")
    world.bend("keys", "salt", salt, "user = 'alice'")

    assert reason_of(world.say(old.ask_status())) == "bare:unavailable"


def test_an_expiry_brought_forward_does_not_let_another_device_replace_an_offer(world):
    world.bring_to("claiming")
    other = copy_of(world.devices["alice"])
    other.prepare()
    world.bend("offers", "expires", 1, "1")

    assert reason_of(world.say(other.ask())) == "bare:unavailable"


def test_a_claim_record_added_to_an_enrolled_key_is_refused(world):
    world.bring_to("claiming")
    before = world.snapshot()
    for device in world.devices.values():
        world.finish(device)
    world.restore(before, "claims")

    assert reason_of(world.say(world.devices["alice"].ask_status())) == "bare:unavailable"


def test_a_claim_record_taken_away_is_missed(world):
    world.bring_to("code")
    world.sql("DELETE FROM claims")

    with pytest.raises(SealError, match="does not fit its claim record"):
        world.service.enrolment_code("alice")


def test_both_dealt_shares_of_an_old_backup_make_the_whole_key_even_after_rotations(world):
    """Why backups from before the claim are to be destroyed: SECURITY.md says so. Opening them takes both root keys."""
    world.bring_to("code")
    key, custody = world.key(), world.service.vault.custody
    shares = []
    halves = ("claim", key.claim, Purpose.CLAIM, 1), ("current", key.sealed, Purpose.SERVER, 2)
    for role, sealed, purpose, number in halves:
        data_key = data_key_to_bytes(custody.open_number(sealed.data_key, purpose).key)
        record = open_record(data_key, sealed.record, row_context(key, role, sealed.data_key, number))
        shares.append(int.from_bytes(record, "little"))
    alice = world.devices["alice"]
    alice.accept_offer(world.say(alice.ask()))
    world.finish(alice)
    world.rotate(alice)

    assert times_base((2 * shares[0] - shares[1]) % ED25519_ORDER) == world.key().group.public_key


def test_the_dealt_share_of_an_old_backup_does_not_combine_with_the_vaults_share_of_today(world):
    world.bring_to("code")
    key, custody = world.key(), world.service.vault.custody
    data_key = data_key_to_bytes(custody.open_number(key.claim.data_key, Purpose.CLAIM).key)
    dealt = open_record(data_key, key.claim.record, row_context(key, "claim", key.claim.data_key, 1))
    alice = world.devices["alice"]
    alice.accept_offer(world.say(alice.ask()))
    world.finish(alice)
    now = world.key()
    data_key = data_key_to_bytes(custody.open_number(now.sealed.data_key, Purpose.SERVER).key)
    server = open_record(data_key, now.sealed.record, row_context(now, "current", now.sealed.data_key, 2))
    whole = 2 * int.from_bytes(dealt, "little") - int.from_bytes(server, "little")

    assert times_base(whole % ED25519_ORDER) != now.group.public_key
