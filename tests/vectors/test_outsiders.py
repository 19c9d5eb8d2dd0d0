"""Whatever leaves a ceremony is a signature to people who never heard of icehouse."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from coincurve import PublicKeyXOnly
from cryptography.exceptions import InvalidSignature

from icehouse import Device, create_hsm_frost
from icehouse._core import verify
from icehouse.errors import ProtocolError
from icehouse.model import SUITES
from vectors.edwards import ED448, ED25519, encode_ristretto
from vectors.outsiders import VERIFIERS, RejectedError, secp256k1_tr, taproot_key

HERE = Path(__file__).parent
MANY = 24
"""Keys enough that one parity of Y alone is as unlikely as one in eight million."""


@pytest.fixture(scope="module")
def frost():
    with create_hsm_frost("simulated") as service:
        yield service


def enrolled(frost, user, suite):
    frost.create_user_frost_shards(user, suite=suite)
    device = Device.create(user)
    device.enrol(frost, frost.enrolment_code(user))
    return device


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_signs_what_an_outsider_accepts(frost, suite):
    message = sha256(suite.encode()).digest()
    device = enrolled(frost, f"signer-{suite}", suite)

    signature = device.sign(frost, message)

    VERIFIERS[suite](device.public_key, message, signature)


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_signs_for_the_same_key_after_a_rotation(frost, suite):
    message = sha256(b"rotated" + suite.encode()).digest()
    device = enrolled(frost, f"rotator-{suite}", suite)
    key = device.public_key

    device.rotate(frost)

    VERIFIERS[suite](key, message, device.sign(frost, message))


@pytest.mark.parametrize("suite", [suite for suite in SUITES if suite != "secp256k1-tr"])
@pytest.mark.parametrize("message", [b"", b"x", bytes(1 << 20)], ids=["empty", "one byte", "1 MiB"])
def test_the_shortest_and_the_longest_message_are_signed(frost, suite, message):
    device = enrolled(frost, f"lengths-{suite}-{len(message)}", suite)

    signature = device.sign(frost, message)

    VERIFIERS[suite](device.public_key, message, signature)


def test_an_outsider_refuses_a_signature_of_ours_on_another_message(frost):
    for suite in SUITES:
        device = enrolled(frost, f"other-{suite}", suite)
        signature = device.sign(frost, bytes(32))

        with pytest.raises((RejectedError, InvalidSignature)):
            VERIFIERS[suite](device.public_key, bytes([1] * 32), signature)


@pytest.fixture(scope="module")
def taproot_devices(frost):
    return [enrolled(frost, f"taproot-{number}", "secp256k1-tr") for number in range(MANY)]


def test_among_the_taproot_keys_are_some_of_each_parity(taproot_devices):
    parities = {device.group.commitments[0] for device in taproot_devices}

    assert parities == {2, 3}


def test_libsecp256k1_accepts_untweaked_signatures_for_either_parity(frost, taproot_devices):
    for number, device in enumerate(taproot_devices):
        message = sha256(b"untweaked %d" % number).digest()
        secp256k1_tr(device.public_key, message, device.sign(frost, message, check_due=False))


@pytest.mark.parametrize("root", [b"", sha256(b"a tree of scripts").digest()], ids=["no tree", "Merkle root"])
def test_libsecp256k1_accepts_tweaked_signatures_for_either_parity(frost, taproot_devices, root):
    for number, device in enumerate(taproot_devices):
        message = sha256(b"tweaked %d" % number).digest()
        signature = device.sign(frost, message, taproot_root=root.hex(), check_due=False)

        assert PublicKeyXOnly(taproot_key(device.public_key, root)).verify(signature, message)


def test_our_output_key_is_that_of_libsecp256k1(taproot_devices):
    for device in taproot_devices:
        tag = sha256(b"TapTweak").digest()
        own = PublicKeyXOnly(device.public_key)
        own.tweak_add(sha256(tag + tag + device.public_key).digest())

        assert own.format() == taproot_key(device.public_key, b"")


def test_a_tweaked_signature_is_none_under_the_untweaked_key(frost, taproot_devices):
    device, message = taproot_devices[0], bytes(32)
    signature = device.sign(frost, message, taproot_root="")

    assert not PublicKeyXOnly(device.public_key).verify(signature, message)
    with pytest.raises(ProtocolError, match="does not verify"):
        device.group.verify(message, signature)


def test_taproot_signs_messages_of_any_length(frost, taproot_devices):
    device = taproot_devices[0]

    for message in (b"", b"x" * 33):
        device.group.verify(message, device.sign(frost, message))


# The outsiders themselves: a verifier that accepted anything would prove nothing.


@pytest.mark.parametrize(
    "name", ["ed25519-sha512", "ed448-shake256", "p256-sha256", "ristretto255-sha512", "secp256k1-sha256"]
)
def test_the_outsiders_accept_the_signatures_of_rfc_9591(name):
    vector = json.loads((HERE / f"frost-{name}.json").read_text())
    inputs = vector["inputs"]
    facts = (inputs["group_public_key"], inputs["message"], vector["final_output"]["sig"])

    VERIFIERS[name.partition("-")[0]](*map(bytes.fromhex, facts))


def test_ed448_in_plain_integers_fits_rfc_8032():
    # RFC 8032 §7.4, "1 octet".
    key = bytes.fromhex(
        "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c086"
        "6aea01eb00742802b8438ea4cb82169c235160627b4c3a9480"
    )
    signature = bytes.fromhex(
        "26b8f91727bd62897af15e41eb43c377efb9c610d48f2335cb0bd0087810f435"
        "2541b143c4b981b7e18f62de8ccdf633fc1bf037ab7cd779805e0dbcc0aae1cb"
        "cee1afb2e027df36bc04dcecbf154336c19f0af7e0a6472905e799f1953d2a0f"
        "f3348ab21aa4adafd1d234441cf807c03a00"
    )

    VERIFIERS["ed448"](key, b"\x03", signature)


def test_ristretto_in_plain_integers_fits_rfc_9496():
    # RFC 9496 appendix A.1, the multiples 1, 2 and 15 of the generator.
    expected = {
        1: "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
        2: "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
        15: "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e",
    }

    for number, encoded in expected.items():
        assert encode_ristretto(ED25519.times(number, ED25519.generator)).hex() == encoded


def test_the_plain_generators_have_the_prime_order():
    for curve in (ED25519, ED448):
        assert curve.equal(curve.times(curve.order, curve.generator), curve.zero)


# SEC 1 knows a second encoding of 33 bytes, `05 || x`, which curve libraries read and RFC 9591 does not have.


@pytest.mark.parametrize("suite", ["p256", "secp256k1"])
def test_a_signature_in_another_encoding_of_its_point_is_refused(frost, suite):
    device = enrolled(frost, f"compact-{suite}", suite)
    for number in range(16):
        message = b"%d" % number
        signature = device.sign(frost, message, check_due=False)

        with pytest.raises(ProtocolError):
            verify(suite, device.public_key, message, b"\x05" + signature[1:])
