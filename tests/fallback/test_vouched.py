"""What the software module may never vouch for: the HSM's keys, and settings that the HSM has not seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fallback.conftest import enrolled
from icehouse.errors import HsmUnavailableError, RequestError, SealError
from icehouse.hsm import KeyKind, open_hsm
from icehouse.model import Purpose, Role
from icehouse.upkeep.rewrap import begin, drain, flip
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings


def change(frost, statement):
    with frost.vault.store.database.write() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize("custody", ["hybrid", "direct"])
def test_a_key_of_the_hsms_name_in_the_software_module_is_never_used(place, custody):
    place.found(custody)
    with place.open() as frost:
        frost.create_user_frost_shards("old")
        old = frost.vault.store.key_of("old").sealed.data_key
        labels = frost.vault.store.record.current(Role.CLAIM).label, frost.vault.store.wrapped_key(old).root_key
    software = open_hsm(place.uri)
    for label in labels:
        software.create_key(label, KeyKind.AES)
    software.close()
    with place.without_hsm() as frost:
        roots = frost.vault.custody.roots
        for label in labels:
            with pytest.raises(HsmUnavailableError):
                roots.use(label, KeyKind.AES, lambda hsm, key: hsm.wrap(key, None, b""))


def test_a_record_under_software_of_a_key_that_says_hsm_is_refused_whoever_sealed_it(place):
    place.found()
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
        custody, key = frost.vault.custody, frost.vault.store.key_of("new")
        forged = replace(key, origin="dealer", attested=True)
        under = custody.open_number(key.sealed.data_key, Purpose.SERVER)
        forged = replace(forged, sealed=custody.seal_share(forged, custody.open_share(key), under))
        with pytest.raises(SealError, match="is under software"):
            custody.open_share(forged)


def test_nothing_under_an_hsm_is_opened_before_the_one_that_seals_the_settings_has_looked_at_them(place):
    claim = f"simulated:claim.token?pin-source=file:{place.pin}"
    make_vault(
        place.vault, Settings(STORE, MODULE, claim, fallback_uri=place.uri, fallback_seconds=0), custody="direct"
    )
    beside, away = place.vault / "claim.token", place.directory / "claim-away"
    with place.open() as frost:
        frost.create_user_frost_shards("old")
        enrolled(frost, "old")
    beside.rename(away)
    with place.without_hsm() as frost:
        change(frost, "UPDATE vault SET buckets = 7")
        place.come_back()
        with pytest.raises(HsmUnavailableError, match="vouches for the vault's settings is away"):
            frost.get_shards("old")
        away.rename(beside)
        with pytest.raises(SealError, match="settings"):
            frost.get_shards("old")
        change(frost, "UPDATE vault SET buckets = 0")

        assert frost.get_shards("old").origin == "dealer"
        place.leave()


def test_a_vault_that_becomes_hierarchical_while_its_hsm_is_away_is_refused(place):
    place.found()
    with place.without_hsm() as frost:
        change(frost, "UPDATE vault SET custody = 'hierarchical'")
        with pytest.raises(SealError, match="of another custody"):
            frost.vault.refresh()


def test_a_rewrap_seals_no_settings_that_the_hsm_has_not_seen(place):
    place.found()
    with place.open() as frost:
        change(frost, "UPDATE vault SET custody = 'direct'")
        with pytest.raises(SealError, match="settings"):
            flip(frost.vault, frost.vault.store.reload(), [])


def test_a_rewrap_takes_no_older_root_key_for_the_next_one(place):
    place.found()
    with place.open() as frost:
        frost.upkeep.rewrap()
        change(frost, "UPDATE root_keys SET version = 9, state = 'making' WHERE role = 'kek' AND version = 1")
        with pytest.raises(SealError, match="is not this vault's kek 9"):
            frost.upkeep.rewrap()


def test_a_rewrap_brings_nothing_back_under_a_superseded_root_key(place):
    place.found()
    with place.open() as frost:
        frost.create_user_frost_shards("alice")
        begin(frost.vault)
        swapped = "CASE version WHEN 1 THEN 'current' ELSE 'draining' END"
        change(frost, f"UPDATE root_keys SET state = {swapped} WHERE role = 'kek'")
        with pytest.raises(SealError, match="settings"):
            drain(frost.vault)


def test_devices_are_told_unavailable_when_the_hsm_is_away_and_the_settings_cannot_be_read(place, caplog):
    place.found("direct")  # of which no key is looked up before it is used
    with place.open() as frost:
        frost.create_user_frost_shards("old")
        old = enrolled(frost, "old")
    with place.open() as frost:
        place.leave()
        (place.vault / "vault.toml").write_text("no settings")
        with pytest.raises(RequestError, match="unavailable"):
            old.sign(frost, b"hello")

    assert "the vault's configuration was to be read anew" in caplog.text
