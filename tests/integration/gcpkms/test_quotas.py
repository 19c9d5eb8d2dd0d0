"""Reads and writes of a project are few in a minute: none is spent on keys that exist."""

from __future__ import annotations

from contextlib import closing

import pytest

from executable import Shell
from icehouse import create_hsm_frost
from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import HsmKey, KeyKind, PartlyListedError, open_hsm
from icehouse.hsm.checkup import Checkup
from integration.gcpkms.calls import impatient
from servers.gcpkms import GROUPS
from servers.gcpkms_keys import Algorithm
from servers.quota import Quotas

READS, WRITES = 300, 60


def limited(server, **limits: int) -> Quotas:
    server.weather.quotas = Quotas(limits, GROUPS)
    return server.weather.quotas


def config_of(server, deadline):
    _, project, _, location, _, ring = server.keys.ring.split("/")
    named = {"project_id": project, "location": location, "key_ring": ring, "deadline": deadline}
    return named | {"endpoint": f"127.0.0.1:{server.port}", "insecure": 1}


def test_seventy_users_of_a_direct_vault_are_made_in_the_second_minute_of_sixty_writes(server, tmp_path):
    quotas = limited(server, reads=READS, writes=WRITES)
    users = [f"user-{number}" for number in range(70)]
    store = f"sqlite:///{tmp_path}/vault.db"
    with create_hsm_frost("google", config_of(server, 1), custody="direct", store=store) as frost:
        with pytest.raises(HsmUnavailableError, match=r"59 of 70 users' keys were made and are written, and no more"):
            frost.create_users(users)
        assert frost.vault.store.count() == 59
        quotas.next_minute()
        told = frost.create_users(users)

        assert (told.created, told.existing) == (11, 59)
        assert frost.vault.store.count() == 70
    # One write for each key there is: none was spent on one that exists.
    assert server.count("CreateCryptoKey") - quotas.refused == 71


@pytest.mark.usefixtures("wrapped")
def test_a_key_that_exists_is_refused_without_a_write(server, hsm):
    limited(server, writes=0)

    with pytest.raises(HsmRefusedError, match="already has a key labelled 'kek'"):
        hsm.create_key("kek", KeyKind.AES)


def test_doctor_over_three_hundred_and_fifty_keys_answers_with_what_it_has(server):
    server.keys.page_size = 1000
    for number in range(350):
        server.keys.plant(f"icehouse-{number:03}", algorithm=Algorithm.HMAC_SHA512)
    limited(server, reads=READS)
    checks = {check.check: check for check in Checkup("hsm", server.uri_of(server.keys.ring, deadline=1)).checks}

    assert checks["reach"].ok is True
    assert checks["keys"].ok is False
    assert "keys were listed, and no more: throttled" in checks["keys"].detail
    assert int(checks["keys"].detail.split()[0]) > 280


def test_a_direct_vaults_keys_cost_a_read_for_a_page_not_for_each(server):
    server.keys.page_size = 1000
    for number in range(350):
        server.keys.plant(f"icehouse-{number:03}")
    before = len(server.calls)
    with closing(open_hsm(server.uri)) as hsm:
        assert len(hsm.keys("icehouse-")) == 350

    assert len(server.calls) - before == 2


def test_a_list_that_broke_off_goes_on_in_the_next_minute(server):
    server.keys.page_size = 1000
    for number in range(40):
        server.keys.plant(f"icehouse-{number:03}", algorithm=Algorithm.HMAC_SHA512)
    with impatient(server) as hsm:
        quotas = limited(server, reads=30)
        with pytest.raises(PartlyListedError, match="29 keys were listed"):
            hsm.keys("")
        quotas.next_minute()
        assert len(hsm.keys("")) == 40

    assert server.count("ListCryptoKeyVersions") - quotas.refused == 40


def test_a_ring_of_three_thousand_keys_with_slow_pages_opens_by_its_labels_and_lists_page_by_page(server, tmp_path):
    server.keys.page_size = 500
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})
    shell.do("init", "--hsm", server.uri_of(server.keys.ring, deadline=2))
    for number in range(3000):
        server.keys.plant(f"other-{number:04}")
    server.weather.page_latency = 0.3
    lists = server.count("ListCryptoKeys")
    shell.do("users", "create", "alice")
    assert server.count("ListCryptoKeys") == lists

    with closing(open_hsm(server.uri_of(server.keys.ring, deadline=2))) as hsm:
        # Seven pages take longer than one deadline.
        assert len(hsm.keys("icehouse-")) == 2


def test_a_version_that_an_interrupted_creation_left_is_listed_by_doctor(server, hsm):
    hsm.create_key("icehouse-kek", KeyKind.AES)
    key = HsmKey("icehouse-kek", KeyKind.AES)
    hsm.destroy_key(key)
    server.weather.denied = {"cloudkms.cryptoKeys.update"}
    with pytest.raises(HsmRefusedError, match="no permission"):
        hsm.create_key("icehouse-kek", KeyKind.AES)
    server.weather.denied = set()
    (check,) = [one for one in Checkup("hsm", server.uri).checks if one.check == "key without a label"]

    assert "cryptoKeys/icehouse-kek/cryptoKeyVersions/2, made for the label icehouse-kek" in check.detail
    assert "gcloud kms keys versions destroy 2 --key icehouse-kek" in check.mend
    assert hsm.keys("") == []
