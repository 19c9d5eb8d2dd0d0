"""Answers that must not be used: bent, cut, of another version or about another key."""

from __future__ import annotations

import pytest

from icehouse.errors import HsmRefusedError, HsmUnavailableError
from integration.openbao.calls import AUDIT, CALLS, CONTEXT, KEK
from servers.openbao_front import Fault


@pytest.mark.parametrize("fault", [Fault.CORRUPTED, Fault.SHORT, Fault.PROXY])
@pytest.mark.parametrize("name", CALLS)
def test_an_answer_that_is_not_openbaos_is_asked_for_again(place, hsm, wrapped, name, fault):
    before = place.front.count(name)
    place.front.weather.schedule = {(name, before + 1): fault}
    CALLS[name](hsm, wrapped)

    assert place.front.count(name) == before + 2


@pytest.mark.parametrize("fault", [Fault.CORRUPTED, Fault.SHORT, Fault.PROXY])
def test_answers_that_are_never_openbaos_are_never_used(place, wrapped, fault):
    with place.impatient() as hsm:
        place.front.weather.always = {"decrypt": fault}

        with pytest.raises(HsmUnavailableError, match="it is not used"):
            hsm.unwrap(KEK, wrapped, CONTEXT)


@pytest.mark.parametrize("name", ["encrypt", "hmac", "sign"])
def test_an_answer_of_another_version_is_refused_at_once(place, hsm, wrapped, name):
    CALLS[name](hsm, wrapped)
    place.front.weather.always = {name: Fault.OTHER_VERSION}
    before = place.front.count(name)

    with pytest.raises(HsmRefusedError, match="version 1 of the key was asked, and version 2 answered"):
        CALLS[name](hsm, wrapped)
    assert place.front.count(name) == before + 1


@pytest.mark.usefixtures("wrapped")
def test_an_answer_about_another_key_is_refused(place, hsm):
    place.front.weather.always = {"read": Fault.OTHER_KEY}

    with pytest.raises(HsmRefusedError, match="asked for the key 'audit', OpenBao answered about 'not-audit'"):
        hsm.public_key(AUDIT)


@pytest.mark.usefixtures("wrapped")
def test_something_on_the_way_that_knows_no_key_does_not_make_it_gone(place):
    place.front.weather.always = {"read": Fault.PROXY, "list": Fault.PROXY}

    with place.impatient() as hsm:
        for call in (lambda: hsm.public_key(AUDIT), lambda: hsm.keys("")):
            with pytest.raises(HsmUnavailableError):
                call()
