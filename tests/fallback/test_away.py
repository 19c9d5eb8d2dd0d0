"""While the HSM is away: new keys in software, and nothing that pretends."""

from __future__ import annotations

import logging
from threading import Event

import pytest

from fallback.conftest import enrolled, warned
from icehouse.campaigns.control import Campaigns
from icehouse.errors import HsmRefusedError, HsmUnavailableError, RequestError, SealError
from icehouse.service import FrostService

CUSTODIES = pytest.mark.parametrize("custody", ["hybrid", "direct"])


@CUSTODIES
def test_new_users_are_served_from_software_and_marked_so(place, custody):
    place.found(custody)
    with place.without_hsm() as frost:
        made = frost.create_user_frost_shards("new")
        frost.create_users(f"u{number}" for number in range(5))
        device = enrolled(frost, "new")
        device.sign(frost, b"hello")
        device.rotate(frost)
        device.sign(frost, b"hello")

        assert (made.origin, made.hsm_attested, made.provider) == ("software", False, "simulated")
        assert {shards.origin for shards in frost.users()} == {"software"}


@CUSTODIES
def test_users_under_the_hsm_are_not_served_and_come_back_with_it(place, custody):
    place.found(custody)
    with place.open() as frost:
        frost.create_users(["old", "unclaimed"])
        old = enrolled(frost, "old")
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
        for ask in (frost.get_shards, frost.create_user_frost_shards, frost.check_user):
            with pytest.raises(HsmUnavailableError):
                ask("old")
        with pytest.raises(HsmUnavailableError):
            frost.enrolment_code("unclaimed")
        with pytest.raises(RequestError, match="unavailable"):
            old.sign(frost, b"hello")
        place.come_back()

        assert old.sign(frost, b"hello")
        assert frost.create_user_frost_shards("later").origin == "dealer"
        place.leave()


@CUSTODIES
def test_a_campaign_that_cannot_open_what_is_under_the_hsm_does_not_count_it_as_verified(place, custody):
    place.found(custody)
    with place.open() as frost:
        frost.create_users(["old", "older"])
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
        office = Campaigns(frost.vault)
        number = office.start("verify").id
        office.run(number, 1, Event())

        assert office.report(number).progress.done == 1
        assert office.report(number).reasons == {"HsmUnavailableError": 2}
        assert frost.create_user_frost_shards("newer").origin == "software"


def test_the_warning_is_seen_once_an_opening_and_by_whoever_is_on_call(place, caplog):
    place.found()
    place.leave()
    for _ in range(2):
        caplog.clear()
        with warned(lambda: FrostService.open(place.vault)) as (frost, told):
            frost.create_user_frost_shards("new")
            frost.create_user_frost_shards("newer")
            frost.vault.refresh()
        alarms = [record for record in caplog.records if record.levelno == logging.CRITICAL]

        assert len(told) == 1
        assert [record.getMessage().partition(":")[0] for record in alarms] == ["ALARM"]
        assert "hsm.token cannot be reached" in str(told[0].message)


def test_a_fallback_that_stands_by_says_nothing(place, caplog):
    caplog.set_level(logging.WARNING, logger="icehouse")
    place.found()
    caplog.clear()
    with FrostService.open(place.vault) as frost:
        frost.create_user_frost_shards("alice")

    assert [record.message for record in caplog.records if "software module" in record.message] == []


def test_a_wrong_pin_does_not_fall_back(frost_of, token, place):
    token.pin_file.write_text("999999\n")
    with pytest.raises(HsmRefusedError, match="PIN"):
        frost_of()

    assert not (place.directory / "frost.db").exists()


@pytest.mark.parametrize(
    ("change", "error"),
    [({"module_path": "/nowhere/lib.so"}, "no PKCS#11 module"), ({"pin_source": "/nowhere/pin"}, "PIN")],
)
def test_a_setting_that_is_wrong_does_not_fall_back(frost_of, change, error):
    with pytest.raises(RequestError, match=error):
        frost_of(**change)


def test_an_hsm_that_lacks_the_vaults_keys_does_not_fall_back(frost_of, softhsm):
    frost_of().close()
    other = softhsm.new_token("other-hsm")
    with pytest.raises(HsmRefusedError, match="has the key"):
        frost_of(token_label=other.label, pin_source=other.pin_file)


def test_an_hsm_that_comes_back_and_refuses_ends_the_fallback(place):
    place.found()
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
        pin = (place.vault / "hsm.pin").read_text()
        (place.vault / "hsm.pin").write_text("another\n")
        place.come_back()
        with pytest.raises(HsmRefusedError, match="PIN"):
            frost.create_user_frost_shards("newer")
        (place.vault / "hsm.pin").write_text(pin)

        assert frost.create_user_frost_shards("newer").origin == "dealer"
        place.leave()


@pytest.mark.parametrize("missing", ["fallback_path", "fallback_pin_source"])
def test_a_fallback_for_a_durable_store_needs_a_file_and_its_pin(frost_of, missing):
    with pytest.raises(RequestError, match="needs both fallback_path and fallback_pin_source"):
        frost_of(**{missing: None})


def test_a_fallback_in_memory_is_for_a_store_in_memory(frost_of):
    nowhere = {"fallback_path": None, "fallback_pin_source": None}
    with pytest.raises(RequestError, match="would outlive them"):
        frost_of(**nowhere)
    with frost_of(store="sqlite://", **nowhere) as frost:
        assert frost.create_user_frost_shards("alice").origin == "dealer"


def test_a_fallback_whose_pin_file_is_missing_is_refused_while_the_hsm_is_there(frost_of, place):
    place.pin.unlink()
    with pytest.raises(RequestError, match="PIN"):
        frost_of()


def test_a_hierarchical_vault_refuses_a_fallback(frost_of, place):
    with pytest.raises(RequestError, match="a hierarchical vault has no fallback"):
        frost_of("hierarchical")
    with pytest.raises(RequestError, match="a hierarchical vault has no fallback"):
        place.found("hierarchical")

    assert not place.vault.exists()


def test_a_fallback_that_is_no_simulated_module_is_refused(place, token):
    place.found()
    settings = place.vault / "vault.toml"
    settings.write_text(settings.read_text().replace(place.uri, token.uri))
    with pytest.raises(RequestError, match="a fallback must be a simulated: module, not pkcs11:"):
        FrostService.open(place.vault)


def test_a_fallback_file_that_held_keys_is_never_made_anew(place):
    place.found()
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
    place.fallback.unlink()
    with pytest.raises(HsmUnavailableError, match=r"fallback\.token cannot be reached"):
        place.open()

    assert not place.fallback.exists()


def test_a_software_key_moved_to_a_row_that_says_hsm_is_refused(place):
    place.found()
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
        with frost.vault.store.database.write() as connection:
            connection.exec_driver_sql("UPDATE keys SET origin = 2, attested = 1")
        with pytest.raises(SealError):
            frost.get_shards("new")
