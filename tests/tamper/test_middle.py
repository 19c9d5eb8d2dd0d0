"""Men in the middle: what someone on the wire, or with the server's old share, can and cannot get."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from icehouse._core import Envelope, Group, bare_refusal, data_key_to_bytes, rotate
from icehouse.device.device import Device
from icehouse.device.file import MemoryFile
from icehouse.errors import IcehouseError
from icehouse.model import Purpose
from tamper.attacker import (
    ED25519_ORDER,
    channel_key,
    channel_of,
    inside,
    message,
    open_offer,
    open_record,
    payload_of,
    reason_of,
    row_context,
    seal_offer,
    times_base,
)
from tamper.probes import copy_of


def test_a_man_in_the_middle_of_a_claim_without_the_code_gets_and_changes_nothing(world):
    world.bring_to("code")
    alice = copy_of(world.devices["alice"])
    asked = alice.ask()
    mine = X25519PrivateKey.generate()
    forged = payload_of(asked) | {"device_key": mine.public_key().public_bytes_raw().hex()}
    head, _, mac = asked.split(".")
    kept_mac = f"{head}.{message(bytes(32), world.key().key_id, 0, forged).split('.')[1]}.{mac}"

    assert world.say(message(bytes(32), world.key().key_id, 0, forged)) == bare_refusal("bad-mac")
    assert world.say(kept_mac) == bare_refusal("bad-mac")
    offer = payload_of(world.say(asked))
    sealed = seal_offer(
        offer, bytes.fromhex(payload_of(asked)["device_key"]), bytes(32), f"{offer['group']['key']}.0", b""
    )
    for lie in (message(bytes(32), world.key().key_id, 0, sealed), message(b"\1" * 32, world.key().key_id, 0, offer)):
        with pytest.raises(IcehouseError):
            alice.accept_offer(lie)


@pytest.fixture
def insider(world):
    """Someone who read the server's share of epoch 1 out of the vault, and sits on the wire."""
    world.bring_to("live")
    key, custody = world.key(), world.service.vault.custody
    data_key = data_key_to_bytes(custody.open_number(key.sealed.data_key, Purpose.SERVER).key)
    share = open_record(data_key, key.sealed.record, row_context(key, "current", key.sealed.data_key, 2))
    return share, channel_key(share, key.vault, key.key_id, 1)


def test_the_channel_key_follows_from_the_servers_share_as_formats_says(world, insider):
    _, channel = insider

    assert channel == channel_of(world.devices["alice"])


def test_a_listener_with_the_old_server_share_learns_nothing_of_the_next_epoch(world, insider):
    """HPKE's X25519 half: the PSK he has is not enough to open the offer."""
    _, channel = insider
    alice, key = world.devices["alice"], world.key()
    alice.prepare()
    offer = payload_of(world.say(alice.ask()))
    alice.accept_offer(world.say(alice.ask()))
    for guess in (X25519PrivateKey.generate(), X25519PrivateKey.from_private_bytes(channel)):
        with pytest.raises(Exception):  # noqa: B017, PT011  whatever his library says
            open_offer(offer, guess, channel, f"{key.key_id.hex()}.1")
    world.finish(alice)

    assert channel_of(alice) != channel
    forged = {"v": 1, "type": "status", "key": key.key_id.hex(), "epoch": 2}
    assert world.say(message(channel, key.key_id, 2, forged)) == bare_refusal("bad-mac")
    assert world.say(message(channel, key.key_id, 1, forged | {"epoch": 1})) == bare_refusal("unknown-epoch")


def ask_as_device(world, insider, mine):
    """The insider asks for a rotation in the device's place, and opens what he gets."""
    _, channel = insider
    key_id = world.key().key_id
    own = mine.public_key().public_bytes_raw().hex()
    asked = {"v": 1, "type": "rotate", "key": key_id.hex(), "epoch": 1, "participant": 1, "device_key": own}
    offer = payload_of(world.say(message(channel, key_id, 1, asked)))
    return offer, open_offer(offer, mine, channel, f"{key_id.hex()}.1")


def test_an_insider_who_asks_in_the_devices_place_cannot_commit(world, insider):
    """He gets the difference and the next channel key, but proves nothing without the device's share."""
    mine = X25519PrivateKey.generate()
    offer, plain = ask_as_device(world, insider, mine)
    key = world.key()
    said = {"v": 1, "type": "prove", "key": key.key_id.hex(), "epoch": 2, "offer_id": offer["offer_id"]}
    answer = world.say(message(plain[32:64], key.key_id, 2, said | {"signature": "00" * 64}))
    Device(world.devices["alice"], MemoryFile()).rotate(world.service)

    assert reason_of(answer) == "bad-proof"
    assert world.key().epoch == world.devices["alice"].facts()["epoch"] > 2


def test_an_insider_who_passes_his_own_offer_on_to_the_device_is_found_out_by_the_proof(world, insider):
    """Each side signs the device key it sealed to or holds: these differ, so nothing is committed."""
    _, channel = insider
    alice, key_id = world.devices["alice"], world.key().key_id
    offer, plain = ask_as_device(world, insider, X25519PrivateKey.generate())
    alice.prepare()
    to = bytes.fromhex(payload_of(alice.ask())["device_key"])
    passed_on = seal_offer(offer, to, channel, f"{key_id.hex()}.1", plain)
    alice.accept_offer(message(channel, key_id, 1, passed_on))

    assert reason_of(world.say(alice.ask_proof()[1])) == "not-the-proof"
    device = Device(alice, MemoryFile())
    assert device.resolve(world.service)
    device.rotate(world.service)
    assert world.key().epoch == device.epoch > 2


def test_an_insider_who_plays_the_vault_leads_the_device_away_and_never_gets_its_share(world, insider, caplog):
    """What rotation does not undo while he sits there, and how it shows: SECURITY.md says so."""
    assert insider
    alice, key = world.devices["alice"], world.key()
    fake = FakeVault(world.service.vault.custody.open_share(key), key)
    device = Device(alice, MemoryFile())
    device.rotate(fake)
    signature = device.sign(fake, b"text", check_due=False)

    key.group.verify(b"text", signature)
    assert world.say(alice.ask_status()) == bare_refusal("unknown-epoch")
    assert "was the database rolled back?" in caplog.text


class FakeVault:
    """The insider's own cosigner: he knows the server's share of epoch 1, so he can offer an epoch 2 of his own."""

    def __init__(self, share, key):
        commitments, (self.difference, own) = rotate(key.group)
        self.group, self.mine = key.group.at(2, commitments), share.plus(own)
        self.current, self.next = share.channel_key(key.group, 1, 1), self.mine.channel_key(self.group, 1, 2)
        self.offer_id = os.urandom(16)

    def exchange(self, text):
        envelope = Envelope(text)
        mac_key = self.current if envelope.epoch == 1 else self.next
        request = envelope.read(envelope.authenticate(mac_key), self.group)
        if request.type == "rotate":
            args = (True, request.device_key, self.offer_id, self.difference, self.next, "2026-01-01T00:00:00Z")
            return envelope.offer(mac_key, envelope.write_offer(mac_key, self.group, *args))
        if request.type == "prove":
            return envelope.committed(mac_key, self.offer_id)
        return envelope.cosigned(mac_key, request, self.mine, self.group, 2)


def test_shares_of_different_epochs_do_not_combine(world, insider):
    share, _ = insider
    alice = world.devices["alice"]
    public = int.from_bytes(share, "little")
    world.rotate(alice)
    device_share = int.from_bytes(bytes.fromhex(inside(alice)["current"]["share"]), "little")
    # f(0) = 2 f(1) - f(2) for shares of one epoch.
    whole = (2 * device_share - public) % ED25519_ORDER
    key = world.key()
    group = Group(key.vault, "alice", "ed25519", 0, 2, ["alice", "server"], 2, key.commitments)

    assert times_base(whole) != group.public_key


def test_shares_of_one_epoch_do(world, insider):
    """The other half of the test above: the arithmetic there is right."""
    share, _ = insider
    device_share = int.from_bytes(bytes.fromhex(inside(world.devices["alice"])["current"]["share"]), "little")
    whole = (2 * device_share - int.from_bytes(share, "little")) % ED25519_ORDER

    assert times_base(whole) == world.key().group.public_key
