"""The HSM is back: rewrap brings under it what was made in software, and the software module can go."""

from __future__ import annotations

import pytest

from consenting import destroyed, trimmed
from fallback.conftest import enrolled, warned
from icehouse import Device
from icehouse.errors import HsmUnavailableError
from icehouse.model import is_software
from icehouse.service import FrostService
from icehouse.store import data_keys

PASSPHRASE = "a phrase of words"  # noqa: S105
CUSTODIES = pytest.mark.parametrize("custody", ["hybrid", "direct"])


class OneAnswer:
    """A connection that goes dead after one answer."""

    def __init__(self, frost: FrostService) -> None:
        self.answers = iter([frost.exchange])

    def exchange(self, message: str) -> str:
        for answer in self.answers:
            return answer(message)
        raise ConnectionError


def numbers_of(frost, user):
    return set(frost.vault.store.key_of(user).slots())


def versions(frost):
    return sorted(root.version for root in frost.vault.store.record.roots if not is_software(root.label))


def under_software(frost):
    rows = data_keys.counts(frost.vault.store.database)
    return [row.number for row in rows if is_software(row.root_key) and row.state != "gone"]


@CUSTODIES
def test_rewrap_promotes_and_the_software_module_can_go(place, custody):
    place.found(custody)
    with place.without_hsm() as frost:
        frost.create_users(["new", "unclaimed", "third"])
        new, third = enrolled(frost, "new"), enrolled(frost, "third")
        before = numbers_of(frost, "new")
    with place.open() as frost:
        assert frost.upkeep.rewrap() == 3
        assert not numbers_of(frost, "new") & before
        assert under_software(frost) == []
        assert [frost.vault.store.key_of(user).due > 0 for user in ("new", "third", "unclaimed")] == [True, True, False]
        done = trimmed(frost)

        assert all(map(is_software, done.root_keys))
        assert done.root_keys
    place.fallback.unlink()
    with place.open() as frost:
        for device in (new, third, enrolled(frost, "unclaimed")):
            device.sign(frost, b"hello")  # which rotates first, where that is due
            shards = frost.get_shards(device.user)

            assert (shards.origin, shards.hsm_attested) == ("software", False)
            assert not frost.vault.store.key_of(device.user).due
        assert frost.check() == 3


@CUSTODIES
def test_a_vault_made_while_its_hsm_is_away_is_promoted_as_well(frost_of, token, custody):
    away = token.directory.parent.parent / f"away-{token.label}"
    token.directory.rename(away)
    with warned(lambda: frost_of(custody)) as (frost, _):
        assert frost.create_user_frost_shards("new").origin == "software"
        device = enrolled(frost, "new")
    away.rename(token.directory)
    with warned(lambda: frost_of(custody)) as (frost, told):
        assert "STILL IN SOFTWARE" in str(told[0].message)
        # Until it is promoted it has no root key in the HSM, and makes none of itself.
        assert frost.create_user_frost_shards("meanwhile").origin == "software"
        assert frost.upkeep.rewrap() == 2
        trimmed(frost)
        assert frost.create_user_frost_shards("later").origin == "dealer"
        device.sign(frost, b"hello")

        assert frost.check() == 3
        assert frost.vault.custody.roots.software.keys("icehouse-") == []
        assert frost.get_shards("new").origin == "software"
        assert frost.get_shards("new").provider == "pkcs11"


def test_a_rewrap_while_the_hsm_is_away_changes_nothing(place):
    place.found()
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
        with pytest.raises(HsmUnavailableError, match="still away"):
            frost.upkeep.rewrap()

        assert frost.check() == 1


def test_a_rewrap_with_nothing_to_promote_makes_new_versions(place):
    place.found()
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
    with place.open() as frost:
        frost.upkeep.rewrap()
        versions = [root.version for root in frost.vault.store.record.roots if not is_software(root.label)]
        frost.upkeep.rewrap()

        assert versions == [1, 1]
        assert sorted(root.version for root in frost.vault.store.record.roots if not is_software(root.label)) == [
            1,
            1,
            2,
            2,
        ]


def test_a_rotation_after_the_hsm_is_back_needs_no_promotion(place):
    place.found()
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
        device = enrolled(frost, "new")
    with place.open() as frost:
        device.rotate(frost)
        software = under_software(frost)

        assert not numbers_of(frost, "new") & set(software)
        assert frost.get_shards("new").provider == "simulated"


def test_an_offer_made_in_software_does_not_settle_the_rotation_that_promotion_asks_for(place):
    place.found()
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
        device = enrolled(frost, "new")

        with pytest.raises(ConnectionError):
            device.rotate(OneAnswer(frost))
    with place.open() as frost:
        frost.upkeep.rewrap()
        key = frost.vault.store.key_of("new")
        assert key.offer
        assert (key.due, key.again) == (frost.vault.today, True)
        device.resolve(frost)
        committed = frost.vault.store.key_of("new")
        assert (committed.epoch, committed.due, committed.again) == (key.offer.epoch, frost.vault.today, False)
        device.sign(frost, b"hello")

        assert not frost.vault.store.key_of("new").due


def test_another_process_that_is_still_without_the_hsm_finds_out(place):
    place.found()
    place.leave()
    with warned(lambda: FrostService.open(place.vault)) as (late, _):
        late.create_user_frost_shards("new")
        # The other process has the HSM back, this one has not looked yet.
        late.vault.custody.roots.main._due = float("inf")
        place.come_back()
        with place.open() as frost:
            assert frost.upkeep.rewrap() == 1
        late.create_user_frost_shards("newer")
        with pytest.raises(HsmUnavailableError):
            late.get_shards("new")
    with place.open() as frost:
        assert frost.get_shards("newer").origin == "software"
        assert frost.upkeep.rewrap() == 1
        assert frost.check() == 2


@CUSTODIES
def test_a_destroyed_users_software_root_keys_must_go_too(place, custody):
    place.found(custody)
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
    with place.open() as frost:
        frost.upkeep.rewrap()
        asked = [one.label for one in frost.own_keys(["new"]).doomed]
        destroyed(frost, "new")
        frost.upkeep.reseal()
        frost.upkeep.trim()
        frost.upkeep.rewrap()
        waiting = destroyed(frost, "new")
        trimmed(frost)

        # A direct vault's user is asked about once: for the key in the HSM and for that in software.
        assert "-software-" in (waiting.waits_for if custody == "hybrid" else str(asked))
        assert waiting.destroyed is (custody == "direct")
        assert destroyed(frost, "new").destroyed
        assert frost.vault.custody.roots.software.keys("icehouse-u") == []


def test_a_device_enrolled_in_software_is_the_same_device_afterwards(place, tmp_path):
    place.found()
    with place.without_hsm() as frost:
        frost.create_user_frost_shards("new")
        with Device.create("new", path=tmp_path / "d", passphrase=PASSPHRASE, work_factor=1) as device:
            device.enrol(frost, frost.enrolment_code("new"))
            public_key = frost.get_shards("new").public_key
    with place.open() as frost, Device.open(tmp_path / "d", PASSPHRASE) as device:
        frost.upkeep.rewrap()
        device.rotate(frost)
        device.sign(frost, b"hello")

        assert frost.get_shards("new").public_key == public_key
