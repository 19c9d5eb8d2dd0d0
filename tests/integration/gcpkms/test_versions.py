"""Keys and versions: which serve, which are refused, and what becomes of the destroyed."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from icehouse._core import DataKey
from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import KeyKind, open_hsm
from integration.gcpkms.calls import AUDIT, CALLS, CONTEXT, KEK, MASTER, impatient
from servers.gcpkms import Fault
from servers.gcpkms_keys import Algorithm, Level, State


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        (KEK, {"level": Level.SOFTWARE}, "protection level is SOFTWARE"),
        (KEK, {"level": Level.EXTERNAL}, "protection level is EXTERNAL"),
        (KEK, {"import_job": "import/1"}, "it was imported"),
        (KEK, {"algorithm": Algorithm.AES_256_GCM}, "purpose is RAW_ENCRYPT_DECRYPT"),
        (KEK, {"algorithm": Algorithm.HMAC_SHA512}, "is of kind hmac; this operation needs kind aes"),
        (MASTER, {"algorithm": Algorithm.HMAC_SHA256}, "algorithm is HMAC_SHA256, not HMAC_SHA512"),
        (AUDIT, {"algorithm": Algorithm.EC_SIGN_P384_SHA384}, "algorithm is EC_SIGN_P384_SHA384"),
    ],
)
def test_a_key_of_another_make_is_refused_for_what_is_wrong_with_it(server, hsm, key, shape, words):
    server.keys.plant(key.label, **shape)
    calls = {KeyKind.AES: "Encrypt", KeyKind.HMAC: "MacSign", KeyKind.ECDSA: "AsymmetricSign"}

    with pytest.raises(HsmRefusedError, match=words):
        CALLS[calls[key.kind]](hsm, b"")
    assert server.count(*CALLS) == 0


@pytest.mark.parametrize("method", CALLS)
def test_a_disabled_version_is_refused_and_serves_again_when_it_is_enabled(server, hsm, wrapped, method):
    label = {"Encrypt": "kek", "Decrypt": "kek", "MacSign": "master"}.get(method, "audit")
    CALLS[method](hsm, wrapped)
    server.keys.version(label).told.state = State.DISABLED

    with pytest.raises(HsmRefusedError, match=f"version 1 of the key labelled '{label}' is DISABLED") as caught:
        CALLS[method](hsm, wrapped)
    assert "gcloud kms keys versions enable" in caught.value.hint
    assert label in [key.label for key in hsm.keys("")]
    server.keys.version(label).told.state = State.ENABLED
    CALLS[method](hsm, wrapped)


@pytest.mark.usefixtures("hsm", "wrapped")
def test_two_living_versions_of_a_mac_key_are_refused(server):
    server.keys.add_version("master")

    with closing(open_hsm(server.uri)) as other, pytest.raises(HsmRefusedError, match="2 versions"):
        other.mac(MASTER, b"message")


def test_what_an_older_version_wrapped_opens_after_the_service_rotated_the_key(server, hsm, wrapped):
    server.keys.add_version("kek", primary=True)
    hsm.unwrap(KEK, wrapped, CONTEXT)
    with closing(open_hsm(server.uri)) as other:
        newer = other.wrap(KEK, DataKey.random(), CONTEXT)

    assert newer[4:8] == bytes([0, 0, 0, 2])
    hsm.unwrap(KEK, newer, CONTEXT)
    server.keys.version("kek", 1).told.state = State.DISABLED
    with pytest.raises(HsmRefusedError, match="DISABLED"):
        hsm.unwrap(KEK, wrapped, CONTEXT)
    hsm.wrap(KEK, DataKey.random(), CONTEXT)


@pytest.mark.usefixtures("wrapped")
def test_a_destroyed_key_says_until_when_it_can_be_restored(server, hsm):
    before = datetime.now(UTC)
    destruction = hsm.destroy_key(KEK)

    assert destruction.done is False
    assert abs(destruction.recoverable_until - before - timedelta(days=30)) < timedelta(minutes=5)
    server.keys.finish_destruction("kek")
    assert KEK not in hsm.keys("")


def test_a_label_is_free_again_after_destruction_with_the_next_version_and_a_restored_key_counts(server, hsm, wrapped):
    for key, method in ((KEK, "Encrypt"), (MASTER, "MacSign"), (AUDIT, "AsymmetricSign")):
        hsm.destroy_key(key)
        hsm.create_key(key.label, key.kind)
        CALLS[method](hsm, b"")
        assert server.keys.version(key.label, 2).told.state == State.ENABLED

    with pytest.raises(HsmRefusedError, match=r"version 1 .* does not open: it is DESTROY_SCHEDULED"):
        hsm.unwrap(KEK, wrapped, CONTEXT)
    server.keys.version("kek", 1).told.state = State.ENABLED
    hsm.unwrap(KEK, wrapped, CONTEXT)


@pytest.mark.usefixtures("wrapped")
def test_a_destroyed_keys_label_stays_its_purposes(hsm):
    hsm.destroy_key(KEK)

    with pytest.raises(HsmRefusedError, match="ENCRYPT_DECRYPT keeps the label 'kek' for ever"):
        hsm.create_key("kek", KeyKind.HMAC)


def test_lists_have_many_pages(server, hsm):
    made = [hsm.create_key(f"key-{number}", list(KeyKind)[number % 3]) for number in range(9)]

    assert hsm.keys("key-") == made
    assert server.count("ListCryptoKeys") == 3


@pytest.mark.usefixtures("wrapped")
def test_a_label_that_was_taken_again_by_half_is_finished_by_the_same_call(server, hsm):
    hsm.destroy_key(KEK)
    server.weather.always = {"UpdateCryptoKeyPrimaryVersion": Fault.UNAVAILABLE}
    with impatient(server) as other, pytest.raises(HsmUnavailableError):
        other.create_key("kek", KeyKind.AES)
    assert KEK not in hsm.keys("")

    server.weather.always = {}
    hsm.create_key("kek", KeyKind.AES)
    hsm.wrap(KEK, DataKey.random(), CONTEXT)
    assert server.count("CreateCryptoKeyVersion") == 1
