"""One story, and everything in it opened by hand: database, token, device file, messages, offers."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import pytest

from frozen.age_file import open_age
from frozen.formats import (
    ELEMENT_BYTES,
    SCALAR_BYTES,
    Facts,
    ctx,
    enrolment_code,
    order_of,
    payload_of,
    scalar_of,
    times_base,
    unb64,
    unseal,
    unwrap,
)
from frozen.hpke import open_psk, public_key
from icehouse import Device, FrostService, create_hsm_frost
from icehouse._core import Group
from icehouse.hsm import open_hsm
from icehouse.model import SUITES

PIN, PASSPHRASE, USER = "648219", "correct horse", "ålice"
STATES, ORIGINS = {2: "dealt", 3: "live"}, {2: "dealer", 3: "software"}


@dataclass
class Tapped:
    """A cosigner that writes down every exchange, and the device's file as it was at that moment."""

    frost: FrostService
    path: Any
    log: list[tuple[str, str, bytes]]

    def exchange(self, message):
        """Pass it on."""
        held = self.path.read_bytes()
        answer = self.frost.exchange(message)
        self.log.append((message, answer, held))
        return answer


class Story:
    """A user who enrols, signs and rotates, and a vault with a token in a file."""

    def __init__(self, directory, suite):
        self.directory, self.suite = directory, suite
        (directory / "pin").write_text(PIN)
        token = directory / "token"
        open_hsm(f"simulated:{token}?pin-source=file:{directory / 'pin'}", create=True).close()
        config = {"path": token, "pin_source": directory / "pin"}
        self.frost = create_hsm_frost("simulated", config, store=f"sqlite:///{directory / 'vault.db'}")
        self.frost.create_user_frost_shards(USER, suite=suite)
        self.path = directory / "device"
        self.device = Device.create(USER, path=self.path, passphrase=PASSPHRASE, work_factor=2)
        self.tapped = Tapped(self.frost, self.path, [])

    def rows(self, table):
        """The rows of a table as the database file holds them."""
        with sqlite3.connect(self.directory / "vault.db") as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f"SELECT * FROM {table}")]

    def root_key(self, label):
        """A key out of the token's file."""
        stored = json.loads(open_age((self.directory / "token").read_bytes(), PIN))
        assert stored["version"] == 1
        assert set(stored) == {"version", "keys"}
        (found,) = [key for key in stored["keys"] if key["label"] == label]
        assert (set(found), found["kind"]) == ({"label", "kind", "secret"}, "aes")
        return b64decode(found["secret"])

    def data_key(self, number):
        """A data key, unwrapped."""
        (vault,) = self.rows("vault")
        (row,) = [row for row in self.rows("data_keys") if row["number"] == number]
        context = ctx("data-key", vault["vault_id"], number, row["purpose"], row["root_key"])
        return unwrap(self.root_key(row["root_key"]), row["wrapped"], context)

    @property
    def vault_id(self):
        """The vault's id."""
        return self.rows("vault")[0]["vault_id"]

    def facts(self):
        """The user's key as its row says."""
        (row,) = self.rows("keys")
        participants = (USER, "server")
        return Facts(
            self.vault_id, row["user"], self.suite, row["generation"], 2, participants, row["epoch"], row["commitments"]
        )

    def row_context(self, role, data_key, participant, *more):
        """What a record of the user's row is bound to."""
        (row,), offers = self.rows("keys"), self.rows("offers")
        facts = self.facts()
        salt = b"" if row["salt"] in {None, bytes(16)} else row["salt"]
        standing = offers[0]["offer_id"] if offers else b""
        return ctx(
            "row",
            role,
            *(facts.vault, facts.key_id, facts.user, facts.context_string, facts.generation),
            *(2, 2, USER, "server", row["epoch"], row["next_epoch"]),
            *(STATES[row["state"]], ORIGINS[row["origin"]], row["attested"]),
            *facts.each_commitment,
            *(salt, row["offer_id"] or b"", standing, data_key, participant),
            *more,
        )

    def server_share(self):
        """The server's share of the current epoch."""
        (row,) = self.rows("keys")
        aad = self.row_context("current", row["data_key"], 2)
        return unseal(self.data_key(row["data_key"]), row["record"], aad)

    def claim_share(self):
        """The device's share, before its device claims it."""
        (row,) = self.rows("claims")
        return unseal(self.data_key(row["data_key"]), row["record"], self.row_context("claim", row["data_key"], 1))

    def pending_share(self):
        """The server's share of the offered epoch."""
        (row,) = self.rows("offers")
        size = ELEMENT_BYTES[self.suite]
        commitments = [row["commitments"][:size], row["commitments"][size:]]
        digest = sha256(row["payload"]).digest()
        more = (row["epoch"], *commitments, row["offer_id"], row["device_key"], row["expires"], digest)
        aad = self.row_context("pending", row["data_key"], 2, *more)
        return unseal(self.data_key(row["data_key"]), row["record"], aad)


@pytest.fixture(params=SUITES)
def story(tmp_path, request):
    made = Story(tmp_path, request.param)
    yield made
    made.device.close()
    made.frost.close()


def secret_of(suite, one, two):
    """f(0) from f(1) and f(2)."""
    return (2 * scalar_of(suite, one) - scalar_of(suite, two)) % order_of(suite)


def inside(file):
    return json.loads(open_age(file, PASSPHRASE))


def test_both_records_of_a_new_key_hold_the_shares_of_its_commitments(story):
    facts = story.facts()
    device, server = story.claim_share(), story.server_share()
    secret = secret_of(story.suite, device, server)
    slope = (scalar_of(story.suite, server) - scalar_of(story.suite, device)) % order_of(story.suite)

    assert len(device) == len(server) == SCALAR_BYTES[story.suite]
    assert facts.each_commitment == [times_base(story.suite, secret), times_base(story.suite, slope)]


def test_a_token_is_the_code_of_the_salt_in_the_row(story):
    token = story.frost.enrolment_code(USER)

    (row,), (claim,) = story.rows("keys"), story.rows("claims")
    key = story.facts().key_id
    code = enrolment_code(story.data_key(claim["data_key"]), story.vault_id, key, row["salt"])
    assert token == f"{key.hex()}.{code.hex()}"


def test_a_standing_offer_seals_the_server_s_share_of_its_epoch(story):
    class Offline(Exception):  # noqa: N818  an end, not an error
        pass

    class Lossy(Tapped):
        def exchange(self, message):
            if self.log:
                raise Offline
            return super().exchange(message)

    lossy = Lossy(story.frost, story.path, [])
    with pytest.raises(Offline):
        story.device.enrol(lossy, story.frost.enrolment_code(USER))
    pending = inside(story.path.read_bytes())["pending"]["epoch"]

    (row,) = story.rows("offers")
    offered = replace(story.facts(), epoch=row["epoch"], commitments=row["commitments"])
    share = story.pending_share()
    secret = secret_of(story.suite, bytes.fromhex(pending["share"]), share)
    assert offered.each_commitment[0] == times_base(story.suite, secret)
    assert pending["channel_key"] == offered.channel_key(share).hex()
    assert pending["group"] == offered.as_json


def test_every_message_of_a_story_is_what_the_formats_say(story):
    token = story.frost.enrolment_code(USER)
    story.device.enrol(story.tapped, token)
    first = story.facts(), story.server_share()
    story.device.sign(story.tapped, bytes(32))
    story.device.rotate(story.tapped)
    second = story.facts(), story.server_share()

    keys = {0: bytes.fromhex(token.partition(".")[2])}
    for facts, share in (first, second):
        keys[facts.epoch] = facts.channel_key(share)
    reader = Reader(story.suite, first[0].key_id, keys)
    types = [reader.read(*exchanged) for exchanged in story.tapped.log]
    assert types == [
        *("claim offer", "cosign cosigned", "prove committed"),
        *("status state", "cosign cosigned"),
        *("rotate offer", "cosign cosigned", "prove committed"),
    ]


class Reader:
    """Someone who has every key and believes nothing."""

    FIELDS = {  # noqa: RUF012  a table
        "claim": {"participant", "device_key"},
        "rotate": {"participant", "device_key"},
        "cosign": {"purpose", "message", "taproot_root", "commitments"},
        "cosigned": {"participant", "hiding", "binding", "share"},
        "prove": {"offer_id", "signature"},
        "committed": {"offer_id"},
        "status": set(),
        "state": {"offer_id", "due"},
    }

    def __init__(self, suite, key_id, keys):
        self.suite, self.key_id, self.keys = suite, key_id, keys

    def read(self, message, answer, file):
        """The types of an exchange, once every byte of it is explained."""
        kid = json.loads(unb64(message.partition(".")[0]))["kid"]
        epoch = int(kid.partition(".")[2])
        asked = payload_of(message, self.key_id, epoch, self.keys[epoch])
        answered = payload_of(answer, self.key_id, epoch, self.keys[epoch])
        self.check(asked, epoch)
        if answered["type"] == "offer":
            self.check_offer(answered, kid, self.keys[epoch], inside(file))
        else:
            self.check(answered, epoch)
        return f"{asked['type']} {answered['type']}"

    def check(self, payload, epoch):
        """Exactly the fields of its type."""
        assert set(payload) == self.FIELDS[payload["type"]] | {"v", "type", "key", "epoch"}
        assert (payload["v"], payload["key"], payload["epoch"]) == (1, self.key_id.hex(), epoch)
        element, scalar = ELEMENT_BYTES[self.suite], SCALAR_BYTES[self.suite]
        for commitment in payload.get("commitments", [payload] if "hiding" in payload else []):
            assert len(commitment["hiding"]) == len(commitment["binding"]) == 2 * element
        if "share" in payload:
            assert (payload["participant"], len(payload["share"])) == (2, 2 * scalar)
        if "signature" in payload:
            assert len(payload["signature"]) == 2 * (64 if self.suite == "secp256k1-tr" else element + scalar)

    def check_offer(self, offer, kid, psk, held):
        """An offer opens by hand, with the key of the request as the device's file held it."""
        names = {"v", "type", "group", "kind", "offer_id", "enc", "sealed", "expires"}
        assert (set(offer), offer["v"]) == (names, 1)
        group, secret = offer["group"], bytes.fromhex(held["request"])
        commitments = bytes.fromhex("".join(group["commitments"]))
        vault = bytes.fromhex(group["vault"])
        facts = Facts(vault, USER, self.suite, 0, 2, (USER, "server"), group["epoch"], commitments)
        assert group == facts.as_json
        offer_id = bytes.fromhex(offer["offer_id"])
        aad = ctx("offer", facts.canonical, offer["kind"], 1, public_key(secret), offer_id)
        enc, sealed = bytes.fromhex(offer["enc"]), bytes.fromhex(offer["sealed"])
        plain = open_psk(secret, enc, sealed, psk=psk, psk_id=kid.encode(), info=ctx("offer"), aad=aad)
        size = SCALAR_BYTES[self.suite]
        assert len(plain) == size + 32
        assert plain[size:] == self.keys[group["epoch"]]
        share = scalar_of(self.suite, plain[:size])
        if offer["kind"] == "difference":
            share += scalar_of(self.suite, bytes.fromhex(held["current"]["share"]))
        group = Group(vault, USER, self.suite, 0, 2, [USER, "server"], facts.epoch, commitments)
        assert times_base(self.suite, share % order_of(self.suite)) == group.verifying_share(1)


def test_a_device_file_is_an_age_file_around_known_fields(story):
    story.device.enrol(story.tapped, story.frost.enrolment_code(USER))
    facts, share = story.facts(), story.server_share()

    held = inside(story.path.read_bytes())
    assert set(held) == {"v", "user", "token", "request", "current", "pending"}
    assert (held["v"], held["user"], held["token"], held["request"], held["pending"]) == (1, USER, None, None, None)
    current = held["current"]
    assert set(current) == {"group", "share", "channel_key", "offer_id", "escrow"}
    assert current["group"] == facts.as_json
    assert current["channel_key"] == facts.channel_key(share).hex()
    assert (len(current["offer_id"]), current["escrow"]) == (32, "")
    secret = secret_of(story.suite, bytes.fromhex(current["share"]), share)
    assert times_base(story.suite, secret) == facts.each_commitment[0]


def test_a_device_file_keeps_token_request_and_proof_until_they_are_of_no_use(story):
    token = story.frost.enrolment_code(USER)
    story.device.enrol(story.tapped, token)
    files = [inside(file) for _, _, file in story.tapped.log]

    claim, cosign, prove = files
    key, _, code = token.partition(".")
    assert all(file["token"] == {"key": key, "code": code} for file in files)
    assert (len(claim["request"]), claim["pending"]) == (64, None)
    assert (cosign["request"], set(cosign["pending"])) == (None, {"epoch", "device_key", "proof"})
    assert cosign["pending"]["device_key"] == claim["request"]
    assert (cosign["pending"]["proof"], len(prove["pending"]["proof"]) > 0) == (None, True)


def test_the_seal_of_a_vault_s_settings_opens_under_its_root_key(story):
    (vault,) = story.rows("vault")
    labels = {row["role"]: row["label"] for row in story.rows("root_keys")}
    context = ctx("settings", vault["vault_id"], vault["custody"], 0, labels["kek"], labels["claim"], "")

    assert len(unwrap(story.root_key(labels["kek"]), vault["seal"], context)) == 32
    assert labels["kek"] == f"icehouse-{vault['vault_id'].hex()}-kek-1"
    assert labels["claim"] == f"icehouse-{vault['vault_id'].hex()}-claim-1"
