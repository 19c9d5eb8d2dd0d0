"""Answers that must not be used: bent, of another version, or made outside an HSM."""

from __future__ import annotations

import pytest

from icehouse.errors import HsmRefusedError, HsmUnavailableError
from integration.gcpkms.calls import CALLS, impatient
from servers.gcpkms import Fault


@pytest.mark.parametrize("method", CALLS)
def test_an_answer_with_a_bent_bit_is_asked_for_again(server, hsm, wrapped, method):
    server.weather.schedule = {(method, server.count(method) + 1): Fault.CORRUPTED}
    CALLS[method](hsm, wrapped)

    assert server.calls[-2:] == [method, method]


@pytest.mark.parametrize("method", CALLS)
def test_answers_that_all_have_a_bent_bit_are_never_used(server, wrapped, method):
    server.weather.always = {method: Fault.CORRUPTED}

    with impatient(server) as hsm, pytest.raises(HsmUnavailableError, match=r"checksum .* does not fit"):
        CALLS[method](hsm, wrapped)


@pytest.mark.parametrize("method", ["Encrypt", "MacSign", "AsymmetricSign"])
def test_an_answer_to_bytes_whose_checksum_the_service_never_saw_is_not_used(server, wrapped, method):
    server.weather.always = {method: Fault.UNVERIFIED}

    with impatient(server) as hsm, pytest.raises(HsmUnavailableError, match=r"checksum .* does not fit"):
        CALLS[method](hsm, wrapped)


@pytest.mark.parametrize("method", ["Encrypt", "MacSign", "AsymmetricSign", "GetPublicKey"])
def test_an_answer_of_another_version_is_refused_at_once(server, hsm, wrapped, method):
    server.weather.always = {method: Fault.WRONG_NAME}
    before = server.count(method)

    with pytest.raises(HsmRefusedError, match=r"/cryptoKeyVersions/1 was asked, and .*/cryptoKeyVersions/99 answered"):
        CALLS[method](hsm, wrapped)
    assert server.count(method) == before + 1


@pytest.mark.parametrize("method", CALLS)
def test_an_answer_made_in_software_is_refused_at_once(server, hsm, wrapped, method):
    server.weather.always = {method: Fault.LOWER_LEVEL}
    before = server.count(method)

    with pytest.raises(HsmRefusedError, match="protection level SOFTWARE, not HSM"):
        CALLS[method](hsm, wrapped)
    assert server.count(method) == before + 1
