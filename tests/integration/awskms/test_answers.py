"""Answers that must not be used: cut, bent, too short, or another key's; and what a MAC is of."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from icehouse._core import data_key_to_bytes, node_from_bytes, same_secret
from icehouse.errors import HsmRefusedError, HsmUnavailableError, SealError
from integration.awskms.calls import CALLS, CONTEXT, KEK, MASTER, impatient
from servers.awskms import Fault


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.EMPTY])
@pytest.mark.parametrize("action", CALLS)
def test_an_answer_that_is_not_whole_is_asked_for_again(server, hsm, wrapped, action, fault):
    server.weather.schedule = {(action, server.count(action) + 1): fault}
    CALLS[action](hsm, wrapped)

    assert server.calls[-2:] == [action, action] or action == "Encrypt"


@pytest.mark.parametrize("action", CALLS)
def test_answers_that_are_never_whole_are_never_used(server, wrapped, action):
    with impatient(server) as hsm:
        server.weather.always = {action: Fault.EMPTY}
        with pytest.raises(HsmUnavailableError, match=r"an answer .*(lacks|not whole)"):
            CALLS[action](hsm, wrapped)


@pytest.mark.parametrize("action", ["ListAliases", "DescribeKey"])
@pytest.mark.usefixtures("wrapped")
def test_a_list_or_a_description_that_lacks_everything_is_no_list_without_keys(server, hsm, action):
    server.weather.schedule = {(action, server.count(action) + 1): Fault.EMPTY}
    assert len(hsm.keys("")) == 3

    with impatient(server) as other:
        server.weather.always = {action: Fault.EMPTY}
        with pytest.raises(HsmUnavailableError, match=r"an answer .* lacks"):
            other.keys("")


@pytest.mark.parametrize("fault", [Fault.CORRUPTED, Fault.SHORT])
def test_a_wrapping_with_a_bent_bit_is_made_again_and_never_given_out(server, hsm, wrapped, fault):
    server.weather.schedule = {("Encrypt", server.count("Encrypt") + 1): fault}
    before = server.count("Encrypt")

    hsm.unwrap(KEK, CALLS["Encrypt"](hsm, wrapped), CONTEXT)
    assert server.count("Encrypt") == before + 2
    server.weather.always = {"Encrypt": fault}
    with impatient(server) as other, pytest.raises(HsmUnavailableError):
        CALLS["Encrypt"](other, wrapped)


@pytest.mark.parametrize(
    ("action", "error"),
    [("Decrypt", SealError), ("GenerateMac", HsmRefusedError), ("Sign", HsmRefusedError)],
)
def test_an_answer_of_another_length_is_refused_at_once(server, hsm, wrapped, action, error):
    server.weather.always = {action: Fault.SHORT}
    before = server.count(action)

    with pytest.raises(error):
        CALLS[action](hsm, wrapped)
    assert server.count(action) == before + 1


@pytest.mark.parametrize("action", CALLS)
def test_an_answer_of_another_key_is_refused_at_once(server, hsm, wrapped, action):
    server.weather.always = {action: Fault.WRONG_KEY}
    before = server.count(action)

    with pytest.raises(HsmRefusedError, match=r":key/\S+ was asked, and \S+beef answered"):
        CALLS[action](hsm, wrapped)
    assert server.count(action) == before + 1


@pytest.mark.usefixtures("wrapped")
@pytest.mark.parametrize(
    ("message", "framed"),
    [
        (b"", b"\0"),
        (b"message", b"\0message"),
        (b"m" * 4095, b"\0" + b"m" * 4095),
        (b"m" * 4096, b"\1" + hashlib.sha512(b"m" * 4096).digest()),
        (b"m" * 9000, b"\1" + hashlib.sha512(b"m" * 9000).digest()),
    ],
    ids=len,
)
def test_a_mac_of_any_length_is_hmac_sha512_of_the_framed_message_for_ever(server, hsm, message, framed):
    wanted = hmac.digest(server.key("master").key_material, framed, "sha512")

    assert same_secret(hsm.mac(MASTER, message), node_from_bytes(wanted))


def test_what_was_wrapped_is_bound_to_its_context_by_awss_own_encryption_context(server, hsm, wrapped):
    opened, _ = server.backend().decrypt(wrapped[1:], {"icehouse": CONTEXT.hex()}, None)

    assert opened == data_key_to_bytes(hsm.unwrap(KEK, wrapped, CONTEXT))
