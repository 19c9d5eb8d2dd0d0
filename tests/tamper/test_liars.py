"""Cosigners that lie, and men in the middle: what a device believes, and what they can and cannot get."""

from __future__ import annotations

import os

import pytest

from icehouse._core import data_key_to_bytes, deal, key_id, rotate
from icehouse.errors import IcehouseError
from icehouse.model import Purpose
from tamper.attacker import (
    CONTEXTS,
    inside,
    open_record,
    payload_of,
    row_context,
    seal_offer,
)
from tamper.probes import copy_of
from tamper.test_messages import NO_HEX, NO_INTEGER, NO_TEXT, X25519_LOW
from tamper.voices import voice

NO_TIME = [*NO_TEXT, "", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00+00:00"]
BENT = {
    "v": [*NO_INTEGER, 0, 2],
    "type": [*NO_TEXT, "", "Offer", "refuse", "claim", 0],
    "key": [*NO_TEXT, *NO_HEX, "ab" * 16],
    "vault": [*NO_TEXT, *NO_HEX, "ab" * 16],
    "epoch": [*NO_INTEGER, 0, 1, 2, 3, 9],
    "offer_id": [*NO_TEXT, *NO_HEX, "ab" * 16],
    "kind": [*NO_TEXT, "", "Share", {"share": None}, {"difference": None}, 0, 1],
    "enc": [*NO_TEXT, *NO_HEX, "ab" * 32, *X25519_LOW],
    "sealed": [*NO_TEXT, *NO_HEX, "ab" * 80],
    "expires": NO_TIME,
    "user": [*NO_TEXT, "", "bob", "alice ", "Alice"],
    "suite": [*NO_TEXT, "", "ed25519", "FROST-ED448-SHAKE256-v1", "FROST-RISTRETTO255-SHA512-v1"],
    "generation": [*NO_INTEGER, 1],
    "threshold": [*NO_INTEGER, 0, 1, 3, 65538],
    "participants": [
        [],
        ["alice"],
        ["server", "alice"],
        ["alice", "alice"],
        ["alice", "bob"],
        ["alice", "server", "x"],
    ],
    "public_key": [*NO_TEXT, *NO_HEX, "ab" * 32],
    "participant": [*NO_INTEGER, 0, 1, 3, 65538],
    "hiding": [*NO_TEXT, *NO_HEX, "ab" * 32, "01" + "00" * 31],
    "binding": [*NO_TEXT, *NO_HEX, "ab" * 32, "01" + "00" * 31],
    "share": [*NO_TEXT, *NO_HEX, "00" * 32, "ff" * 32],
    "due": [*NO_TEXT[:2], 0, "true", [], None],
}
KINDS = ("share", "difference")


def bent(said):
    """Every way to say it otherwise, with the field that was bent."""
    for name, value in said.items():
        yield f"no {name}", {field: kept for field, kept in said.items() if field != name}
        if isinstance(value, dict):
            yield f"{name} as a list", {**said, name: list(value.values())}
            yield from ((f"{name}.{place}", {**said, name: other}) for place, other in bent(value))
        elif name == "commitments":
            yield from ((name, {**said, name: other}) for other in bent_commitments(value))
        else:
            others = [*BENT[name], *([kind for kind in KINDS if kind != value] if name == "kind" else [])]
            different = [other for other in others if other != value or type(other) is not type(value)]
            yield from ((f"{name} = {other!r}", {**said, name: other}) for other in different)
    yield "more", {**said, "more": 1}


def bent_commitments(value):
    first, second = value
    turned = second[:-2] + f"{int(second[-2:], 16) ^ 0x80:02x}"
    return [[], [first], [second, first], [first, second, second], [first, first], [first, turned], [first, 1], first]


def refused(state, take, lies):
    """The lies that a device believed or that changed it."""
    before, believed = inside(state), []
    for name, lie in lies:
        try:
            take(lie)
        except IcehouseError:
            pass
        else:
            believed.append(name)
        if inside(state) != before:
            believed.append(f"{name} changed the device")
    return believed


@pytest.mark.parametrize("state", ["code", "live"])
def test_a_bent_offer_is_refused_and_changes_nothing(worlds, state):
    world, rows = worlds[state]
    alice = copy_of(world.devices["alice"])
    alice.prepare()
    own = voice(world, "code" if state == "code" else "current")
    said = payload_of(world.say(alice.ask()))
    world.restore(rows)

    assert refused(alice, alice.accept_offer, [(name, own.says(lie)) for name, lie in bent(said)]) == []


def test_a_bent_cosignature_is_refused(worlds):
    world, _ = worlds["live"]
    alice, own = copy_of(world.devices["alice"]), voice(world, "current")
    for name, _ in bent(payload_of(world.say(alice.ask_signature(b"text")[1]))):
        nonces, question = alice.ask_signature(b"text")
        lie = dict(bent(payload_of(world.say(question)))).get(name)
        with pytest.raises(IcehouseError):
            alice.accept_signature(nonces, own.says(lie))


@pytest.mark.parametrize("kind", ["committed", "abandoned", "state"])
def test_a_bent_end_of_an_offer_is_refused_and_changes_nothing(worlds, kind):
    world, rows = worlds["rotating"]
    alice = copy_of(world.devices["alice"])
    world.prove(alice)
    own = voice(world, "offered" if kind == "committed" else "current")
    asks = {"committed": alice.ask_commit, "abandoned": alice.ask_abandon, "state": alice.ask_status}
    takes = {
        "committed": alice.accept_commit,
        "abandoned": lambda answer: alice.accept_abandoned(None, answer),
        "state": alice.read_status,
    }
    said = payload_of(world.say(asks[kind]()))
    world.restore(rows)
    # What stands is only said: another id or mark there is information, and nothing is deleted because of it.
    lies = [(name, own.says(lie)) for name, lie in bent(said) if kind != "state" or "ab'" not in name]
    lies = [(name, lie) for name, lie in lies if kind != "state" or name not in {"offer_id = None", "due = 1"}]

    assert refused(alice, takes[kind], lies) == []


# Offers that are sealed as they should be, and lie


class Liar:
    """A cosigner with all that the vault has, that offers what it must not."""

    def __init__(self, world, user="alice"):
        self.world = world
        self.key = world.key(user)
        self.device = copy_of(world.devices[user])
        self.device.prepare()
        self.asked = payload_of(self.device.ask())
        self.voice = voice(world, "current" if self.key.epoch else "code", user)
        self.kid = f"{self.key.key_id.hex()}.{self.key.epoch}"

    def offers(self, group, kind, plain, offer_id=None):
        """An offer of these facts, sealed to the device's key."""
        wire = {
            "v": 1, "vault": group["vault"].hex(), "key": group["key"].hex(), "user": group["user"],
            "suite": CONTEXTS[group["suite"]], "generation": group["generation"], "threshold": group["threshold"],
            "participants": group["participants"], "epoch": group["epoch"],
            "public_key": group["commitments"][0].hex(), "commitments": [c.hex() for c in group["commitments"]],
        }  # fmt: skip
        offer = {"v": 1, "type": "offer", "group": wire, "kind": kind, "offer_id": (offer_id or os.urandom(16)).hex()}
        offer |= {"enc": "", "sealed": "", "expires": "2026-01-01T00:00:00Z"}
        to = bytes.fromhex(self.asked["device_key"])
        return self.voice.says(seal_offer(offer, to, self.voice.mac_key, self.kid, plain))

    def facts(self, **others):
        """The group that an honest offer would have, but for some facts."""
        commitments, _ = rotate(self.key.group)
        honest = {
            "vault": self.key.vault, "key": self.key.key_id, "user": self.key.user, "suite": self.key.suite,
            "generation": 0, "threshold": 2, "participants": [self.key.user, "server"], "epoch": self.key.next_epoch,
            "commitments": [commitments[:32], commitments[32:]],
        }  # fmt: skip
        return {**honest, **others}


def whole_share(world, user="alice"):
    """A share that fits, for an unclaimed key, read from the database with both HSM keys."""
    key, custody = world.key(user), world.service.vault.custody
    data_key = data_key_to_bytes(custody.open_number(key.claim.data_key, Purpose.CLAIM).key)
    return open_record(data_key, key.claim.record, row_context(key, "claim", key.claim.data_key, 1))


CHANNEL = bytes(range(32))


def test_an_honest_offer_made_by_hand_is_accepted(worlds):
    """So that what follows is refused for its lie and for nothing else."""
    world, _ = worlds["code"]
    liar, commitments = Liar(world), world.key().commitments
    facts = liar.facts(commitments=[commitments[:32], commitments[32:]])
    liar.device.accept_offer(liar.offers(facts, "share", whole_share(world) + CHANNEL + b"escrow" * 100))

    assert inside(liar.device)["pending"]["epoch"]["escrow"] == (b"escrow" * 100).hex()


def lies_about_a_first_share(liar, share):
    key = liar.key
    same = [key.commitments[:32], key.commitments[32:]]
    other_vault = bytes(15) + b"\1"
    negative = same[0][:31] + bytes([same[0][31] ^ 0x80])
    plain = share + CHANNEL
    yield "a difference", liar.facts(commitments=same), "difference", plain
    yield "the epoch it has", liar.facts(commitments=same, epoch=0), "share", plain
    yield "another share", liar.facts(commitments=same), "share", bytes([share[0] ^ 1]) + plain[1:]
    yield "a share of zero", liar.facts(commitments=same), "share", bytes(32) + CHANNEL
    yield "a share that is no scalar", liar.facts(commitments=same), "share", b"\xff" * 32 + CHANNEL
    yield "other commitments", liar.facts(), "share", plain
    yield "another user", liar.facts(commitments=same, user="bob", participants=["bob", "server"]), "share", plain
    yield "another vault", liar.facts(commitments=same, vault=other_vault), "share", plain
    own_id = key_id(other_vault, "alice", "ed25519", 0)
    yield "another vault's key", liar.facts(commitments=same, vault=other_vault, key=own_id), "share", plain
    yield "another generation", liar.facts(commitments=same, generation=1), "share", plain
    yield "threshold 1", liar.facts(commitments=same[:1], threshold=1), "share", plain
    yield "one commitment too many", liar.facts(commitments=[*same, same[1]]), "share", plain
    yield "one too few", liar.facts(commitments=same[:1]), "share", plain
    yield "an identity share", liar.facts(commitments=[same[0], negative]), "share", plain
    yield "no channel key", liar.facts(commitments=same), "share", share
    yield "an escrow too long", liar.facts(commitments=same), "share", plain + bytes(1025)
    yield "a stranger's group", liar.facts(commitments=same, participants=["bob", "server"]), "share", plain


def test_a_first_offer_that_lies_is_refused_and_changes_nothing(worlds):
    world, _ = worlds["code"]
    liar = Liar(world)
    lies = [(name, liar.offers(*lie)) for name, *lie in lies_about_a_first_share(liar, whole_share(world))]

    assert refused(liar.device, liar.device.accept_offer, lies) == []


def lies_about_a_rotation(liar):
    key = liar.key
    same = [key.commitments[:32], key.commitments[32:]]
    dealt, _ = deal("ed25519", 2, 2)
    plain = bytes(32) + CHANNEL
    yield "unchanged commitments", liar.facts(commitments=same), "difference", plain
    yield "a whole share", liar.facts(), "share", plain
    yield "another public key", liar.facts(commitments=[dealt[:32], dealt[32:]]), "difference", plain
    yield "another key behind the same public key", liar.facts(commitments=[same[0], dealt[32:]]), "difference", plain
    yield "a difference that does not fit", liar.facts(), "difference", b"\5" + bytes(31) + CHANNEL
    yield "the same epoch", liar.facts(epoch=key.epoch), "difference", plain
    yield "a lower epoch", liar.facts(epoch=0), "difference", plain
    yield "an epoch too large", liar.facts(epoch=2**53), "difference", plain
    yield "another user", liar.facts(user="bob", participants=["bob", "server"]), "difference", plain
    yield "another generation", liar.facts(generation=1), "difference", plain
    yield "another participant", liar.facts(participants=["alice", "bob"]), "difference", plain
    yield "one participant more", liar.facts(participants=["alice", "server", "bob"]), "difference", plain
    yield "another place", liar.facts(participants=["server", "alice"]), "difference", plain
    yield (
        "another threshold",
        liar.facts(participants=["alice", "server", "bob"], threshold=3, commitments=[*same, dealt[32:]]),
        "difference",
        plain,
    )


def test_a_rotation_that_lies_is_refused_and_changes_nothing(worlds):
    world, _ = worlds["live"]
    liar = Liar(world)
    lies = [(name, liar.offers(*lie)) for name, *lie in lies_about_a_rotation(liar)]

    assert refused(liar.device, liar.device.accept_offer, lies) == []


def test_an_offer_for_another_request_is_refused(worlds):
    world, rows = worlds["live"]
    alice = copy_of(world.devices["alice"])
    alice.prepare()
    offer = world.say(alice.ask())
    world.restore(rows)
    other = copy_of(world.devices["alice"])
    other.prepare()

    assert refused(other, other.accept_offer, [("another device key's", offer)]) == []


def test_a_pending_offer_is_never_replaced_by_another(world):
    world.bring_to("rotating")
    alice = world.devices["alice"]
    alice.prepare()
    own = voice(world, "current")
    key = world.key()
    other = copy_of(alice)
    world.say(other.ask_abandon())
    offer = world.say(own.says(payload_of(alice.ask())))

    assert key.offer is not None
    assert refused(alice, alice.accept_offer, [("another offer", offer)]) == []
