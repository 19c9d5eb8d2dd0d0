"""CloudHSM's habits, one by one, on a module that has them: met by its profile, and by no other."""

from __future__ import annotations

import subprocess

import pytest

from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError, RequestError
from icehouse.hsm import HsmKey, KeyKind
from softhsm import PIN

CONTEXT = bytes(32)


def test_the_hsm_draws_the_nonces_and_puts_them_before_the_ciphertext(hsm):
    key, secret = hsm.create_key("kek", KeyKind.AES), DataKey.random()
    wrapped = [hsm.wrap(key, secret, CONTEXT) for _ in range(8)]

    assert {len(each) for each in wrapped} == {61}
    assert len({each[1:13] for each in wrapped}) == 8
    assert all(same_secret(hsm.unwrap(key, each, CONTEXT), secret) for each in wrapped)


def test_a_profile_that_draws_nonces_itself_wraps_nothing(opened, place):
    hsm = opened(place.uri("generic"))
    key = hsm.create_key("kek", KeyKind.AES)

    with pytest.raises(HsmRefusedError, match="MechanismParamInvalid"):
        hsm.wrap(key, DataKey.random(), CONTEXT)


@pytest.mark.parametrize("kind", [KeyKind.HMAC, KeyKind.ECDSA])
def test_an_attribute_that_a_kind_of_key_lacks_fails_the_whole_template_of_other_profiles(opened, place, kind):
    with pytest.raises(HsmRefusedError, match="AttributeTypeInvalid"):
        opened(place.uri("generic")).create_key("key", kind)

    assert opened().create_key("key", kind).kind == kind


@pytest.mark.parametrize("kind", list(KeyKind))
def test_attributes_that_a_kind_of_key_has_are_read_back(hsm, kind):
    hsm.create_key("key", kind)
    told = hsm.attributes("key")

    assert (told["CKA_SENSITIVE"], told["CKA_EXTRACTABLE"], told["CKA_LOCAL"]) == (True, False, True)
    assert ("CKA_WRAP" in told) == (kind is KeyKind.AES)


def test_a_new_key_that_is_not_known_everywhere_yet_is_waited_for(hsm, shim):
    shim.weather.hidden, shim.weather.stale = 4, 3
    kek, master = hsm.create_key("kek", KeyKind.AES), hsm.create_key("master", KeyKind.HMAC)
    audit = hsm.create_key("audit", KeyKind.ECDSA)

    assert hsm.keys("") == [audit, kek, master]
    hsm.unwrap(kek, hsm.wrap(kek, DataKey.random(), CONTEXT), CONTEXT)
    assert same_secret(hsm.mac(master, b"message"), hsm.mac(master, b"message"))
    assert len(hsm.sign(audit, bytes(32))) == 64


def test_a_profile_that_does_not_wait_lists_less_than_there_is(opened, place, shim):
    hsm = opened(place.uri("generic"))
    hsm.create_key("first", KeyKind.AES)
    shim.weather.hidden = 4
    hsm.create_key("second", KeyKind.AES)

    assert [key.label for key in hsm.keys("")] == ["first"]


def test_a_key_that_another_process_made_a_moment_ago_is_waited_for(opened, shim):
    shim.weather.hidden = 3
    key = opened().create_key("kek", KeyKind.AES)

    opened().wrap(key, DataKey.random(), CONTEXT)


def test_a_new_key_may_be_destroyed_before_it_is_known_everywhere(hsm, shim):
    shim.weather.hidden, shim.weather.stale = 4, 3
    stays, goes = hsm.create_key("stays", KeyKind.AES), hsm.create_key("goes", KeyKind.ECDSA)
    hsm.destroy_key(goes)

    assert hsm.keys("") == [stays]


def test_a_key_that_never_comes_up_is_given_up_on(hsm, shim):
    shim.weather.stale = 1_000_000
    key = hsm.create_key("kek", KeyKind.AES)
    with pytest.raises(HsmUnavailableError, match="KeyHandleInvalid"):
        hsm.wrap(key, DataKey.random(), CONTEXT)

    with pytest.raises(HsmError, match="missing"):
        hsm.wrap(HsmKey("missing", KeyKind.AES), DataKey.random(), CONTEXT)


@pytest.mark.parametrize("pin", [PIN, f":{PIN}", "crypto-user:", "648219-wrong"])
def test_a_pin_that_does_not_name_its_user_is_refused_before_the_hsm_counts_it(place, opened, pin):
    place.pin_file.write_text(pin)
    before = place.module.weather.calls

    with pytest.raises(HsmRefusedError, match="USER:PASSWORD") as caught:
        opened()
    assert "648219" not in f"{caught.value!r} {caught.value.hint}"
    # The one call opened a session.
    assert place.module.weather.calls == before + 1


def test_a_wrong_password_is_refused_and_neither_it_nor_the_user_is_shown(place, opened):
    place.pin_file.write_text("somebody:271828")

    with pytest.raises(HsmRefusedError, match="wrong PIN") as caught:
        opened()
    shown = f"{caught.value!r} {caught.value.hint}"
    assert not any(word in shown for word in ("somebody", "271828"))
    assert place.module.open_sessions == 0


def test_what_is_too_long_for_the_hsm_is_refused(hsm):
    key = hsm.create_key("master", KeyKind.HMAC)
    hsm.mac(key, bytes(16_384))

    with pytest.raises(HsmRefusedError, match="DataLenRange"):
        hsm.mac(key, bytes(16_385))
    assert (hsm.info.capacity, hsm.info.max_wrap_bytes) == (16_666, 16_384)


@pytest.mark.parametrize(("limit", "kind"), [("keys", KeyKind.AES), ("pairs", KeyKind.ECDSA)])
def test_a_cluster_without_room_refuses_another_key_and_keeps_its_own(hsm, shim, limit, kind):
    setattr(shim.weather, limit, 2)
    for label in ("one", "two"):
        hsm.create_key(label, kind)

    with pytest.raises(HsmRefusedError, match="no room for another key"):
        hsm.create_key("three", kind)
    assert [key.label for key in hsm.keys("")] == ["one", "two"]
    hsm.destroy_key(HsmKey("one", kind))
    hsm.create_key("three", kind)


def test_read_only_sessions_are_refused_by_the_module(place):
    command = ["pkcs11-tool", "--module", place.module.path, "--token-label", place.label, "--list-objects"]
    told = subprocess.run(command, check=False, capture_output=True, text=True)

    assert told.returncode != 0
    assert "CKR_SESSION_READ_ONLY" in told.stderr


def test_more_sessions_than_the_application_may_have_are_unavailable_and_then_served(hsm, shim, opened):
    key = hsm.create_key("kek", KeyKind.AES)
    shim.weather.sessions = shim.open_sessions
    with pytest.raises(HsmUnavailableError, match="SessionCount"):
        opened()

    hsm.wrap(key, DataKey.random(), CONTEXT)
    shim.weather.sessions = 0
    opened().wrap(key, DataKey.random(), CONTEXT)


def test_the_module_tells_its_profile_without_being_asked(opened, place):
    hsm = opened(place.uri(None))
    assert "CloudHSM" in hsm.info.model

    # What AWS says of the cluster is not known, so whether two HSMs would hold a key is not, either.
    with pytest.raises(HsmRefusedError, match="2 HSMs") as caught:
        hsm.create_key("kek", KeyKind.AES)
    assert "cluster-id=" in caught.value.hint


def test_the_profile_is_refused_for_a_token_that_is_none_of_cloudhsms(softhsm, opened):
    token = softhsm.new_token("not-cloudhsm")

    with pytest.raises(RequestError, match="not for a token made by 'SoftHSM project'"):
        opened(f"{token.uri}&profile=cloudhsm&single-hsm=1")


def test_whoever_names_the_tokens_manufacturer_may_choose_the_profile(place, opened):
    named = place.uri().replace("?", ";manufacturer=AWS%20CloudHSM%20stand-in?")

    assert opened(named).keys("") == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("profile=luna", "profile must be one of"),
        ("profile=generic&single-hsm=1", "need profile=cloudhsm"),
        ("region=us-east-1", "need profile=cloudhsm"),
        ("profile=cloudhsm&single-hsm=yes", "0 or 1"),
        ("profile=cloudhsm&region=us-east-1", "cluster-id must read"),
        ("profile=cloudhsm&cluster-id=cluster-1&region=us-east-1", "cluster-id must read"),
        ("profile=cloudhsm&cluster-id=cluster-abcdefghijk", "both cluster-id= and region="),
        ("profile=cloudhsm&endpoint=https://localhost", "needs cluster-id="),
        (
            "profile=cloudhsm&cluster-id=cluster-abcdefghijk&region=us-east-1&endpoint=http://aws.example",
            "endpoint must",
        ),
    ],
)
def test_a_uri_that_says_less_or_more_than_it_must_is_a_wrong_request(place, opened, query, words):
    with pytest.raises(RequestError, match=words):
        opened(f"{place.uri(None)}&{query}")
