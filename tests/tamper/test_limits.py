"""What strangers can spend, and what half of the HSMs gives."""

from __future__ import annotations

import pytest

from icehouse._core import bare_refusal, data_key_to_bytes
from icehouse.errors import HsmRefusedError, HsmUnavailableError, SealError
from icehouse.hsm import HsmKey, KeyKind
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.model import Purpose
from tamper.attacker import message, open_record, payload_of, reason_of, row_context
from tamper.probes import copy_of
from tamper.world import World

BURST = 5


def spent(world, texts):
    """The HSM operations that these messages cost, and what they were answered."""
    before = world.hsm.operations.total
    answers = [reason_of(world.say(text)) for text in texts]
    return world.hsm.operations.total - before, answers


@pytest.fixture(params=[0, 256], ids=["no cache", "cache"])
def limited(request, tmp_path):
    world = World(tmp_path, cache_keys=request.param, limit_burst=BURST).bring_to("live")
    world.service.vault.custody._opened.forget()
    yield world
    world.close()


def stranger(world, user="alice", epoch=1):
    key = world.key(user)
    said = {"v": 1, "type": "status", "key": key.key_id.hex(), "epoch": epoch}
    return message(bytes(32), key.key_id, epoch, said)


def unknown_keys(count):
    return [message(bytes(32), bytes([n]) * 16, 1, {}) for n in range(count)]


def test_unknown_keys_cost_the_hsm_nothing_and_spend_nothing(limited):
    operations, answers = spent(limited, unknown_keys(50))

    assert operations == 0
    assert answers == ["bare:unknown-key"] * 50


def test_a_flood_of_unknown_keys_keeps_no_device_out_whose_data_key_is_closed(limited):
    spent(limited, unknown_keys(50))
    operations, answers = spent(limited, [limited.devices["alice"].ask_status()] * 10)

    assert operations >= 1
    assert answers == ["state"] * 10


def test_unknown_epochs_cost_the_hsm_nothing(limited):
    operations, answers = spent(limited, [stranger(limited, epoch=9)] * 50)

    assert operations == 0
    assert set(answers) == {"bare:unknown-epoch"}


def test_malformed_messages_cost_the_hsm_nothing(limited):
    operations, answers = spent(limited, ["x.y.z"] * 50)

    assert operations == 0
    assert set(answers) == {"bare:malformed"}


def test_bad_macs_spend_no_more_of_the_hsm_than_the_limit(limited):
    kept = limited.cache_keys > 0
    operations, answers = spent(limited, [stranger(limited)] * 50)

    assert operations <= (1 if kept else BURST)
    assert answers == (["bare:bad-mac"] * (50 if kept else BURST) + ["bare:unavailable"] * (0 if kept else 50 - BURST))


def test_a_bad_mac_spends_the_limit_only_where_it_costs_an_hsm_operation(tmp_path):
    world = World(tmp_path, cache_keys=256, limit_burst=BURST).bring_to("live")
    spent(world, [stranger(world)] * 50)
    world.service.vault.custody._opened.forget()
    operations, answers = spent(world, [world.devices["alice"].ask_status()] * 10)
    world.close()

    assert operations == 1
    assert answers == ["state"] * 10


def test_who_shows_that_he_may_ask_gets_back_what_he_spent(tmp_path):
    world = World(tmp_path, limit_burst=BURST).bring_to("live")
    operations, answers = spent(world, [world.devices["alice"].ask_status()] * (3 * BURST))
    world.close()

    assert operations == 3 * BURST
    assert answers == ["state"] * (3 * BURST)


# What the cache keeps


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr("icehouse.custody.opened.monotonic", lambda: self.now)


@pytest.mark.parametrize(("custody", "buckets"), [("hybrid", 0), ("direct", 0), ("hierarchical", 1)])
def test_what_a_device_uses_is_opened_anew_before_it_closes(tmp_path, monkeypatch, custody, buckets):
    clock = Clock(monkeypatch)
    world = World(tmp_path, cache_keys=256, limit_burst=BURST, custody=custody, buckets=buckets).bring_to("live")
    status = world.devices["alice"].ask_status()
    spent(world, [status])
    costs = []
    for _ in range(20):
        clock.now += 100
        world.service.vault.limit._left = 0  # by strangers, all the time
        costs.append(spent(world, [status] * 5))
    world.close()

    assert [answers for _, answers in costs] == [["state"] * 5] * 20
    assert sum(operations for operations, _ in costs) == 10  # every 200 of its 300 seconds: not for every message


def test_what_is_opened_closes_in_time_where_the_hsm_does_not_open_it_any_more(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    world = World(tmp_path, cache_keys=256).bring_to("live")
    spent(world, [world.devices["alice"].ask_status()])
    for role in ("kek", "claim"):
        world.hsm.destroy_key(HsmKey(world.sql("SELECT label FROM root_keys WHERE role = ?", role)[0][0], KeyKind.AES))
    answers = []
    for _ in range(4):
        clock.now += 100
        answers += spent(world, [world.devices["alice"].ask_status()])[1]
    world.close()

    assert answers == ["state", "state", "state", "bare:unavailable"]


def test_a_stranger_keeps_nothing_open(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    world = World(tmp_path, cache_keys=256).bring_to("live")
    spent(world, [world.devices["alice"].ask_status()])
    clock.now += 200
    operations, answers = spent(world, [stranger(world)] * 50)
    world.close()

    assert operations == 0
    assert answers == ["bare:bad-mac"] * 50


def test_a_data_key_that_does_not_open_spends_no_more_of_the_hsm_than_the_limit(limited):
    """Nobody has shown who asks when an opening fails, so it must count as a message that proves nothing."""
    limited.bend("data_keys", "wrapped", bytes(60), "purpose = 'server'")
    operations, answers = spent(limited, [stranger(limited)] * 50)

    assert operations <= BURST
    assert set(answers) == {"bare:unavailable"}


@pytest.mark.parametrize("error", [HsmRefusedError, HsmUnavailableError])
def test_an_hsm_that_refuses_or_throttles_is_not_asked_without_limit(limited, monkeypatch, error):
    asked = []

    def refuse(*_):
        asked.append(1)
        raise error

    monkeypatch.setattr(SimulatedHsm, "unwrap", refuse)
    _, answers = spent(limited, [stranger(limited)] * 50)

    assert set(answers) == {"bare:unavailable"}
    assert len(asked) <= 3 * BURST  # once for the data key, and for the settings that may explain the refusal


def test_a_device_whose_data_key_is_open_is_served_while_strangers_are_refused(tmp_path):
    world = World(tmp_path, cache_keys=256, limit_burst=BURST).bring_to("live")
    spent(world, [stranger(world)] * 50)
    operations, answers = spent(world, [world.devices["alice"].ask_status()] * 10)
    world.close()

    assert operations == 0
    assert answers == ["state"] * 10


def test_a_replayed_message_costs_no_more_than_one_that_is_new(tmp_path):
    world = World(tmp_path, cache_keys=256, limit_burst=BURST).bring_to("live")
    question = world.devices["alice"].ask_signature(b"text")[1]
    operations, answers = spent(world, [question] * 50)
    world.close()

    assert operations == 0
    assert answers == ["cosigned"] * 50


# Two HSMs


@pytest.fixture
def halves(tmp_path):
    """A vault whose `kek` and `claim` are in two HSMs, with unclaimed keys."""
    world = World(tmp_path, claim_hsm=SimulatedHsm()).bring_to("dealt")
    yield world
    world.close()


def test_each_hsm_opens_its_own_half_and_not_the_other(halves):
    """What a thief of the database and of one HSM's credentials gets: one share of each key."""
    key, vault = halves.key(), halves.service.vault
    for purpose, stolen, sealed, role, participant in (
        (Purpose.SERVER, halves.hsm, key.sealed, "current", 2),
        (Purpose.CLAIM, halves.claim_hsm, key.claim, "claim", 1),
    ):
        label = vault.custody.root_key(purpose, None)
        other = vault.custody.root_key(Purpose.CLAIM if purpose is Purpose.SERVER else Purpose.SERVER, None)
        data_key = data_key_to_bytes(vault.custody.open_number(sealed.data_key, purpose).key)

        assert len(open_record(data_key, sealed.record, row_context(key, role, sealed.data_key, participant))) == 32
        assert [found.label for found in stolen.keys("icehouse-")] == [label]
        wrapped = vault.store.wrapped_key(key.claim.data_key if purpose is Purpose.SERVER else key.sealed.data_key)
        with pytest.raises(HsmRefusedError):
            stolen.unwrap(HsmKey(other, KeyKind.AES), wrapped.wrapped, bytes(32))


def test_a_vault_does_not_open_without_either_of_its_hsms(halves):
    empty = SimulatedHsm()
    for pair in ((halves.hsm, empty), (empty, halves.claim_hsm)):
        halves.hsm, kept = pair[0], halves.hsm
        halves.claim_hsm, other = pair[1], halves.claim_hsm
        with pytest.raises(HsmRefusedError, match="has the key"):
            halves.reopen()
        halves.hsm, halves.claim_hsm = kept, other


def test_a_claim_hsm_that_is_gone_leaves_enrolled_keys_signing(tmp_path):
    world = World(tmp_path, claim_hsm=SimulatedHsm()).bring_to("live")
    world.claim_hsm.close()
    signature = world.sign(world.devices["alice"])
    world.close()

    assert len(signature) == 64


def test_a_data_key_of_the_other_hsm_is_no_key_of_this_one(halves):
    claim, kek = (row[0] for row in halves.sql("SELECT label FROM root_keys ORDER BY role"))
    halves.sql("UPDATE data_keys SET root_key = CASE root_key WHEN ? THEN ? ELSE ? END", kek, claim, kek)

    with pytest.raises(SealError, match="is wrapped by"):
        halves.service.check_user("alice")


# A code, and who has it


def test_whoever_has_the_code_first_is_the_device(world):
    """An enrolment code is the right to the key until it is used: SECURITY.md says so."""
    world.bring_to("code")
    thief = copy_of(world.devices["alice"])
    thief.accept_offer(world.say(thief.ask()))
    world.finish(thief)

    assert world.say(world.devices["alice"].ask_status()) == bare_refusal("unknown-epoch")


def test_a_thief_of_the_code_waits_while_the_devices_offer_stands(world):
    world.bring_to("claiming")
    thief = copy_of(world.devices["alice"])
    thief.prepare()

    assert reason_of(world.say(thief.ask())) == "conflict"
    assert payload_of(world.say(thief.ask_status()))["offer_id"] == world.key().offer.offer_id.hex()
