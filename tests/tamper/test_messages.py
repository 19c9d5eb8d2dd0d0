"""Messages that are not quite right: what each is refused with, in the order of FORMATS, and with nothing changed."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from tamper.attacker import b64, header, message, payload_of, reason_of, signed
from tamper.probes import copy_of
from tamper.voices import SERVED, TYPES, VOICES, Voice, right, voice
from tamper.world import USERS, random_device_key

MALFORMED = {
    "claim": {"device_key": "00" * 32},
    "rotate": {"participant": 2},
    "sign": {"commitments": []},
    "proof": {"taproot_root": ""},
    "prove": {"signature": "00" * 63},
    "abandon": {"offer_id": "00"},
    "status": {"due": False},
}
ED25519_IDENTITY = "01" + "00" * 31
ED25519_ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
X25519_LOW = ["00" * 32, "01" + "00" * 31, "ec" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f", "ee" + "ff" * 30 + "7f"]
X25519_HIGH_BIT = "09" + "00" * 30 + "80"
NO_HEX = ["", "0", "zz", "AB" * 16, " " + "ab" * 16, "ab" * 15, "ab" * 17, "ab" * 31, "ab" * 33, "0x" + "ab" * 15]
NO_INTEGER = ["1", 1.0, 1.5, True, None, -1, 2**53, 2**64, 10**30, [1], {}]
NO_TEXT = [None, 1, True, [], {}, ["ab"]]


@pytest.fixture(scope="session")
def stages(worlds):
    """For each voice: its world, what the database holds, the voice, and a right payload of every type."""
    found = {}
    for state, speaker in VOICES:
        world, rows = worlds[state]
        own = voice(world, speaker)
        found[state, speaker] = (world, rows, own, {kind: right(world, kind, own) for kind in TYPES})
    return found


@pytest.fixture(params=VOICES, ids="-".join)
def stage(request, stages):
    world, rows, own, payloads = stages[request.param]
    yield world, request.param[1], own, payloads
    world.restore(rows)


def unchanged(world, text):
    """The reason of a refusal that changed nothing."""
    before = world.snapshot()
    reason = reason_of(world.say(text))
    assert world.snapshot() == before, reason
    return reason


# The order of refusals


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_is_served_under_the_kid_that_formats_says_and_no_other(stage, kind):
    world, speaker, own, payloads = stage
    answer = reason_of(world.say(own.says(payloads[kind])))
    if kind in SERVED[speaker]:
        assert answer in {"offer", "cosigned", "committed", "abandoned", "state"}
    else:
        assert answer == "wrong-epoch"


@pytest.mark.parametrize("kind", TYPES)
def test_malformed_comes_before_wrong_epoch_and_everything_after_it(stage, kind):
    world, _, own, payloads = stage

    assert unchanged(world, own.says(payloads[kind] | MALFORMED[kind])) == "malformed"


@pytest.mark.parametrize("kind", TYPES)
def test_a_bad_mac_comes_before_malformed(stage, kind):
    world, _, own, payloads = stage
    stranger = Voice(bytes(32), own.key_id, own.epoch)

    assert unchanged(world, stranger.says(payloads[kind])) == "bare:bad-mac"
    assert unchanged(world, stranger.says(payloads[kind] | MALFORMED[kind])) == "bare:bad-mac"


@pytest.mark.parametrize("kind", TYPES)
def test_an_unknown_epoch_comes_before_a_bad_mac(stage, kind):
    world, _, own, payloads = stage
    for epoch in {0, 1, 2, 3, 4, 99, 2**53 - 1} - known_epochs(world):
        for mac_key in (own.mac_key, bytes(32)):
            text = Voice(mac_key, own.key_id, epoch).says(payloads[kind] | {"epoch": epoch})

            assert unchanged(world, text) == "bare:unknown-epoch"


def known_epochs(world):
    key = world.key()
    known = {0} if key.salt is not None else {key.epoch}
    return known | ({key.offer.epoch} if key.offer else set())


@pytest.mark.parametrize("kind", TYPES)
def test_an_unknown_key_comes_before_an_unknown_epoch(stage, kind):
    world, _, own, payloads = stage
    for epoch in (0, 1, 99):
        text = message(own.mac_key, bytes(16), epoch, payloads[kind] | {"key": "00" * 16, "epoch": epoch})

        assert unchanged(world, text) == "bare:unknown-key"


def test_a_bad_form_comes_before_an_unknown_key(world):
    world.bring_to("dealt")

    assert unchanged(world, "x" + message(bytes(32), bytes(16), 0, {})) == "bare:malformed"


def test_a_key_without_a_code_has_no_epoch_0(world):
    world.bring_to("dealt")

    assert reason_of(world.say(message(bytes(32), world.key().key_id, 0, {}))) == "bare:unknown-epoch"


@pytest.mark.parametrize("kind", ["claim", "rotate"])
def test_another_device_key_is_a_conflict_while_an_offer_stands(stages, kind):
    world, _, own, payloads = stages["claiming", "code"] if kind == "claim" else stages["rotating", "current"]
    other = payload_of(random_device_key(copy_of(world.devices["bob"])).ask())["device_key"]

    assert unchanged(world, own.says(payloads[kind] | {"device_key": other})) == "conflict"


@pytest.mark.parametrize("state", ["claiming", "rotating"])
def test_only_the_proof_itself_is_signed_with_offered_shares(stages, state):
    world, _, own, payloads = stages[state, "offered"]
    for text in (b"", b"text", b"\0\0\0\x12icehouse/v1/proof"):
        assert unchanged(world, own.says(payloads["proof"] | {"message": b64(text)})) == "not-the-proof"


@pytest.mark.parametrize("text", [b"\0\0\0\x12icehouse/v1/proof", b"\xff\xff\xff\xfficehouse/", b"abcdicehouse/"])
def test_a_message_that_starts_like_a_proof_is_reserved(stages, text):
    world, _, own, payloads = stages["live", "current"]

    assert unchanged(world, own.says(payloads["sign"] | {"message": b64(text)})) == "reserved"


def test_the_standing_proof_is_reserved_at_the_current_epoch(stages):
    world, _, own, payloads = stages["rotating", "current"]
    key = world.key()
    text = key.offered_group(key.offer).proof_message(key.offer.offer_id, key.offer.device_key)

    assert unchanged(world, own.says(payloads["sign"] | {"message": b64(text)})) == "reserved"


@pytest.mark.parametrize(("state", "speaker"), [("rotating", "offered"), ("claiming", "offered"), ("live", "current")])
def test_another_offers_id_comes_before_a_bad_proof(stages, state, speaker):
    world, _, own, payloads = stages[state, speaker]
    bent = payloads["prove"] | {"offer_id": "ab" * 16, "signature": "00" * 64}

    assert unchanged(world, own.says(bent)) == "not-the-offer"


@pytest.mark.parametrize("state", ["claiming", "rotating"])
def test_every_bent_byte_of_a_proof_is_a_bad_proof(stages, state):
    world, _, own, payloads = stages[state, "offered"]
    signature = bytes.fromhex(payloads["prove"]["signature"])
    for place in range(len(signature)):
        bent = bytearray(signature)
        bent[place] ^= 0x04

        assert unchanged(world, own.says(payloads["prove"] | {"signature": bent.hex()})) == "bad-proof"


def test_a_proof_is_verified_strictly(stages):
    world, _, own, payloads = stages["rotating", "offered"]
    signature = bytes.fromhex(payloads["prove"]["signature"])
    order = 2**252 + 27742317777372353535851937790883648493
    larger = (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    for bent in (signature[:32] + larger, bytes.fromhex(ED25519_ORDER_8) + signature[32:]):
        assert unchanged(world, own.says(payloads["prove"] | {"signature": bent.hex()})) == "bad-proof"


# Every field


def cases():
    for kind in TYPES:
        state, speaker = next(pair for pair in reversed(VOICES) if kind in SERVED[pair[1]])
        yield pytest.param(kind, state, speaker, id=kind)


BENT = {
    "v": [*NO_INTEGER, 0, 2],
    "participant": [*NO_INTEGER, 0, 2, 65537],
    "epoch": NO_INTEGER,
    "type": [*NO_TEXT, "", "Claim", "cosigned", "offer", "refused", "sign", 0, 5],
    "purpose": [*NO_TEXT, "", "Sign", "prove"],
    "key": [*NO_TEXT, *NO_HEX, "ab" * 16],
    "device_key": [*NO_TEXT, *NO_HEX, *X25519_LOW, X25519_HIGH_BIT],
    "offer_id": [*NO_TEXT, *NO_HEX],
    "signature": [*NO_TEXT, *NO_HEX, "ab" * 65],
    "message": [None, 1, [], "YQ==", "YR", "Y", "a b", "+/+/", "é"],
    "taproot_root": [1, [], "", "ab" * 32, "ab", "AB" * 32, False],
}


def bent_values(name, value):
    """What a field must not be, whatever it is."""
    if name == "commitments":
        return bent_commitments(value[0])
    others = [value + 1, value + 2, 2**32 + value] if name == "epoch" else []
    return [*BENT[name], *others]


def bent_commitments(good):
    two = {**good, "participant": 2}
    found = [None, {}, "", good, [], [[1, good["hiding"], good["binding"]]], [None], [good, good], [two], [good, two]]
    found += [[{**good, "more": 1}], [{**good, "participant": "1"}], [{**good, "participant": 0}]]
    for name in ("hiding", "binding"):
        missing = {field: value for field, value in good.items() if field != name}
        bad = [None, "", good[name][:-2], good[name] + "00", good[name].upper(), ED25519_IDENTITY, ED25519_ORDER_8]
        bad += ["ff" * 32, "02" + "00" * 31]
        found += [[missing], *[[{**good, name: value}] for value in bad]]
    return found


@pytest.mark.parametrize(("kind", "state", "speaker"), list(cases()))
def test_a_field_that_is_bent_is_malformed(stages, kind, state, speaker):
    world, _, own, payloads = stages[state, speaker]
    for name, value in payloads[kind].items():
        for bad in bent_values(name, value):
            assert unchanged(world, own.says(payloads[kind] | {name: bad})) == "malformed", (name, bad)


@pytest.mark.parametrize(("kind", "state", "speaker"), list(cases()))
def test_a_field_that_is_missing_doubled_or_unknown_is_malformed(stages, kind, state, speaker):
    world, _, own, payloads = stages[state, speaker]
    whole = json.dumps(payloads[kind])
    for name, value in payloads[kind].items():
        without = {field: kept for field, kept in payloads[kind].items() if field != name}
        twice = f"{whole[:-1]}, {json.dumps(name)}: {json.dumps(value)}}}"

        assert unchanged(world, own.says(without)) == "malformed", name
        assert unchanged(world, own.says(twice.encode())) == "malformed", name
    assert unchanged(world, own.says(payloads[kind] | {"more": None})) == "malformed"


@pytest.mark.parametrize(("kind", "state", "speaker"), list(cases()))
def test_a_payload_is_one_json_object_and_nothing_else(stages, kind, state, speaker):
    world, _, own, payloads = stages[state, speaker]
    good = payloads[kind]
    raw = json.dumps(good).encode()
    array = [good["type"], *[value for name, value in good.items() if name != "type"]]
    bent = [b"", b"null", b"[]", b"{}", raw + b"x", raw + raw, b"\xef\xbb\xbf" + raw, raw[:-1], raw + b"\0", b"\xff"]
    bent += [json.dumps(array).encode(), json.dumps([good]).encode(), b"[" * 100_000, raw.replace(b'"', b"'")]
    bent += [raw.replace(b'"v": 1', b'"v": 1e0'), raw.replace(b'"v": 1', b'"v": 01'), raw.replace(b'"v"', b'"V"')]
    for payload in bent:
        assert unchanged(world, own.says(payload)) == "malformed", payload[:80]


def test_fields_may_come_in_any_order(stages):
    world, _, own, payloads = stages["live", "current"]
    backwards = dict(reversed(payloads["sign"].items()))

    assert reason_of(world.say(own.says(backwards))) == "cosigned"


# The envelope


def test_an_envelope_that_is_not_exactly_formats_is_malformed(stages):
    world, _, own, payloads = stages["live", "current"]
    raw = json.dumps(payloads["status"]).encode()
    good = own.says(payloads["status"])
    head, body, mac = good.split(".")
    spared = body[:-1] + chr(ord(body[-1]) + 1) if len(body) % 4 else body + "A"
    bent = ["", "{}", ".", "..", "...", head, f"{head}.{body}", f"{good}.", f"{good}.{mac}", f" {good}", f"{good}\n"]
    bent += [f"{head}=.{body}.{mac}", f"{head}.{body}=.{mac}", f"{head}.{body}.{mac}="]
    bent += [f"{head}.{spared}.{mac}", f"{head}.!.{mac}", f"{head}.{body}.+{mac[1:]}", "\ud800", good + "\ud800"]
    bent += [good + "A" * (4 << 20), '{"v":1,"type":"refused","reason":"bad-mac"}']
    heads = [header(own.key_id, epoch) for epoch in ("01", "+1", "-1", "", "1.0", "1 ", "0x1", "\u0661", str(2**53))]
    exact = header(own.key_id, 1)
    heads += [exact.upper(), exact + b" ", b" " + exact, exact.replace(b"HS256", b"none"), exact[:-1], b"{}"]
    heads += [exact.replace(b'","typ":"icehouse', b'","typ":"icehouse","typ":"icehouse'), exact.replace(b":", b": ", 1)]
    heads += [exact.replace(own.key_id.hex().encode(), own.key_id.hex().upper().encode()), header(own.key_id[:15], 1)]
    bent += [signed(own.mac_key, head, raw) for head in heads]

    assert {text[:60]: reason for text in bent if (reason := unchanged(world, text)) != "bare:malformed"} == {}


def test_an_authenticated_payload_that_is_no_base64_is_malformed(stages):
    """Form comes first, whoever made the MAC: it once came out of `exchange` as an exception."""
    world, _, own, _ = stages["live", "current"]
    for body in ("!", "YQ==", "YR", "Y"):
        text = f"{b64(header(own.key_id, 1))}.{body}"
        mac = b64(hmac.new(own.mac_key, text.encode(), hashlib.sha256).digest())

        assert unchanged(world, f"{text}.{mac}") == "bare:malformed"


def test_a_mac_is_checked_whole(stages):
    world, _, own, payloads = stages["live", "current"]
    head, body, mac = own.says(payloads["status"]).split(".")
    others = ["", mac[:-3], "A" * len(mac), "B" + mac[1:], mac[:22], mac + "AAAA"]

    assert {unchanged(world, f"{head}.{body}.{other}") for other in others} <= {"bare:bad-mac", "bare:malformed"}


def test_a_key_authenticates_no_other_key_or_epoch(stages):
    world, _, own, payloads = stages["rotating", "current"]
    offered = stages["rotating", "offered"][2]
    crossed = [Voice(own.mac_key, own.key_id, offered.epoch), Voice(offered.mac_key, own.key_id, own.epoch)]
    crossed.append(Voice(own.mac_key, world.key(USERS[1]).key_id, own.epoch))
    for stranger in crossed:
        said = payloads["status"] | {"key": stranger.key_id.hex(), "epoch": stranger.epoch}

        assert unchanged(world, stranger.says(said)) == "bare:bad-mac"
