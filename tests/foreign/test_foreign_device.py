"""A device written from the formats alone, in another language, over `icehouse exchange`."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from icehouse import FrostService
from icehouse.model import SUITES
from vectors.outsiders import VERIFIERS

MESSAGE = sha256(b"foreign").digest()


def token_for(vault, suite):
    with FrostService.open(vault) as service:
        service.create_user_frost_shards("alice", suite=suite)
        return service.enrolment_code("alice")


def accepted(suite, facts):
    assert facts["signatures"]
    for signature in facts["signatures"]:
        VERIFIERS[suite](bytes.fromhex(facts["public_key"]), MESSAGE, bytes.fromhex(signature))


@pytest.mark.parametrize("suite", ["ed25519", "secp256k1"])
def test_a_foreign_device_restarts_between_enrolling_signing_rotating_and_signing_again(foreign_device, suite):
    token = token_for(foreign_device.vault, suite)
    enrolled = foreign_device.run("create", "alice", "enrol", token)
    before = foreign_device.run("sign", MESSAGE.hex())
    rotated = foreign_device.run("rotate")
    after = foreign_device.run("sign", MESSAGE.hex())

    accepted(suite, before)
    accepted(suite, after)
    assert [facts["epoch"] for facts in (enrolled, before, rotated, after)] == [1, 1, 2, 2]
    assert before["public_key"] == after["public_key"]


@pytest.mark.parametrize("suite", [suite for suite in SUITES if suite not in {"ed25519", "secp256k1"}])
def test_a_foreign_device_of_every_other_suite_does_it_in_one_go(foreign_device, suite):
    token = token_for(foreign_device.vault, suite)
    sign = ("sign", MESSAGE.hex())
    facts = foreign_device.run("create", "alice", "enrol", token, *sign, "rotate", *sign)

    accepted(suite, facts)
    assert facts["epoch"] == 2


def test_a_foreign_taproot_device_signs_for_a_key_of_either_parity(foreign_device):
    parities = set()
    for number in range(12):
        user = f"user-{number}"
        with FrostService.open(foreign_device.vault) as service:
            service.create_user_frost_shards(user, suite="secp256k1-tr")
            token = service.enrolment_code(user)
        own = replace(foreign_device, state=foreign_device.vault / f"{user}.json")
        accepted("secp256k1-tr", own.run("create", user, "enrol", token, "sign", MESSAGE.hex()))
        parities.add(json.loads(own.state.read_text())["current"]["group"]["commitments"][0][:2])
        if len(parities) == 2:
            break

    assert parities == {"02", "03"}


@pytest.mark.parametrize("step", ["request", "offer", "proof", "answer"])
def test_a_foreign_device_that_ends_after_any_step_goes_on_from_its_file(foreign_device, step):
    token = token_for(foreign_device.vault, "ed25519")
    ended = foreign_device.run("create", "alice", "enrol", token, stop_after=step)
    resumed = foreign_device.run("resume", "rotate", stop_after=step)
    signed = foreign_device.run("resume", "sign", MESSAGE.hex())

    accepted("ed25519", signed)
    assert (ended["stopped"], ended["epoch"]) == (step, 0)
    assert not resumed["signatures"]
    assert not signed["pending"]


def test_a_foreign_device_abandons_an_offer_that_the_vault_burnt(foreign_device):
    first = token_for(foreign_device.vault, "ed25519")
    foreign_device.run("create", "alice", "enrol", first, stop_after="offer")
    with FrostService.open(foreign_device.vault) as service:
        second = service.enrolment_code("alice")
    facts = foreign_device.run("enrol", second, "sign", MESSAGE.hex())

    accepted("ed25519", facts)
    assert facts["epoch"] > 1


def test_a_copy_from_before_the_proof_learns_that_its_offer_is_committed(foreign_device):
    token = token_for(foreign_device.vault, "ed25519")
    foreign_device.run("create", "alice", "enrol", token, stop_after="offer")
    copy = replace(foreign_device, state=foreign_device.vault / "copy.json")
    copy.state.write_bytes(foreign_device.state.read_bytes())
    foreign_device.run("resume")
    facts = copy.run("resume", "sign", MESSAGE.hex())

    accepted("ed25519", facts)
    assert (facts["epoch"], facts["pending"]) == (1, False)


def test_the_vault_sees_a_foreign_device_as_any_other(foreign_device):
    token = token_for(foreign_device.vault, "ed25519")
    facts = foreign_device.run("create", "alice", "enrol", token)

    with FrostService.open(foreign_device.vault) as service:
        shards = service.get_shards("alice")
        assert (shards.public_key.hex(), shards.epoch, shards.state) == (facts["public_key"], 1, "live")
