"""A custody that is none of icehouse's own: the settings name its module and class, once the HSM has seen them."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from conformance.custody.house import Arrangement
from conformance.custody.test_fourth import PLACE
from fallback.conftest import Place
from icehouse import create_hsm_frost
from icehouse.cli.main import app
from icehouse.custody import KINDS, custody_class
from icehouse.errors import ConflictError, HsmUnavailableError, RequestError, SealError
from icehouse.service import FrostService
from icehouse.upkeep.recover import Listed, recover
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings

FOURTH = Arrangement(PLACE)
UNTOLD = "untold_custody:Custody"


@pytest.fixture
def untold(tmp_path, monkeypatch):
    """A module that could be imported, and that nobody asked for."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "untold_custody.py").write_text("class Custody:\n    name = 'untold_custody:Custody'\n")
    monkeypatch.syspath_prepend(tmp_path / "path")
    yield
    sys.modules.pop("untold_custody", None)


def names(count):
    return [f"user-{number}" for number in range(count)]


def test_a_vault_whose_directory_names_a_custody_by_its_place_opens_again(tmp_path):
    make_vault(tmp_path / "vault", Settings(STORE, MODULE), custody=PLACE)
    with FrostService.open(tmp_path / "vault") as service:
        service.create_users(names(3))
        stored = service.vault.store.reload().custody
    with FrostService.open(tmp_path / "vault") as service:
        roles = [root.role for root in service.vault.store.record.roots]

        assert (stored, service.check(), roles) == (PLACE, 3, ["kek"])
        assert service.get_shards("user-0").custody == PLACE


def test_a_library_call_names_a_custody_by_its_place_and_opens_no_vault_of_another(tmp_path):
    make_vault(tmp_path, Settings(STORE, MODULE))
    config = {"path": str(tmp_path / "hsm.token"), "pin_source": str(tmp_path / "hsm.pin")}
    with create_hsm_frost("simulated", custody=PLACE) as service:
        service.create_users(names(2))

        assert service.check() == 2
    with pytest.raises(ConflictError, match="custody is hybrid"):
        create_hsm_frost("simulated", config, custody=PLACE, store=f"sqlite:///{tmp_path / 'vault.db'}")


def test_the_command_makes_a_vault_of_a_custody_named_by_its_place(tmp_path):
    made = CliRunner().invoke(app, ["init", "--custody", PLACE, "--vault", str(tmp_path / "vault")])
    refused = CliRunner().invoke(
        app, ["init", "--custody", PLACE, "--buckets", "3", "--vault", str(tmp_path / "other")]
    )

    assert (made.exit_code, PLACE in made.stdout) == (0, True)
    assert isinstance(refused.exception, RequestError)
    assert "are for hierarchical custody, not for" in str(refused.exception)
    with FrostService.open(tmp_path / "vault") as service:
        assert service.vault.custody.name == PLACE


@pytest.mark.on("simulated")
@pytest.mark.under(FOURTH)
def test_upkeep_works_under_a_custody_named_by_its_place(house):
    alice = house.enrolled("alice")
    house.service.create_users(names(3))
    upkeep = house.service.upkeep
    upkeep.rewrap()
    upkeep.reseal()
    trimmed = upkeep.trim()
    label = f"icehouse-{house.service.vault.vault_id.hex()}-kek-1"
    upkeep.trim(void_backups=True, consent=[label])
    alice.rotate(house.service)
    house.sign(alice)

    assert trimmed.ready == (label,)
    assert [key.label for key in house.hsm.keys("")] == [label.replace("kek-1", "kek-2")]
    assert house.another_process().check() == 4


@pytest.mark.on("simulated")
@pytest.mark.under(FOURTH)
def test_a_custody_refuses_in_its_own_words(house):
    for refused in (
        house.service.upkeep.convert_to_hybrid,
        lambda: recover(house.service.vault, [Listed("alice")], 1, create_unknown=False),
    ):
        with pytest.raises(RequestError, match=rf"^{PLACE} has random shares$"):
            refused()


@pytest.mark.usefixtures("untold")
@pytest.mark.on("simulated")
@pytest.mark.under(FOURTH)
def test_what_the_database_names_is_not_imported_where_the_hsm_did_not_see_it(house):
    house.sql("UPDATE vault SET custody = ?", UNTOLD)
    with pytest.raises(SealError, match="settings in the database were changed"):
        house.another_process()

    assert "untold_custody" not in sys.modules


@pytest.mark.usefixtures("untold")
def test_what_the_database_names_is_not_imported_while_the_hsm_is_away(tmp_path):
    place = Place(tmp_path)
    place.found()
    with place.without_hsm() as service:
        with service.vault.store.database.write() as connection:
            connection.exec_driver_sql(f"UPDATE vault SET custody = '{UNTOLD}'")
        for opening in (service.vault.refresh, place.open):
            with pytest.raises(HsmUnavailableError, match="nothing vouches that this vault's custody"):
                opening()

        assert "untold_custody" not in sys.modules


def test_a_custody_without_a_fallback_is_told_of_none(tmp_path):
    place = Place(tmp_path)
    with pytest.raises(RequestError, match="waits for its HSM"):
        place.found(PLACE)

    assert not place.vault.exists()


@pytest.mark.parametrize(
    ("custody", "words"),
    [
        ("hierarchic", "must be one of hybrid, hierarchical, direct"),
        ("", "must be one of"),
        (":", "must be one of"),
        ("..:x", "must be one of"),
        ("json:dumps\n", "must be one of"),
        ("icehouse_nowhere:Custody", "cannot be imported"),
        ("json:Custody", "cannot be imported"),
        ("json:JSONEncoder", "must have its own place as its name, not None"),
        ("icehouse.custody.hybrid:HybridCustody", "must have its own place as its name, not 'hybrid'"),
    ],
)
def test_a_place_where_no_custody_is_is_refused(custody, words):
    with pytest.raises(RequestError, match=words):
        create_hsm_frost("simulated", custody=custody)


@pytest.mark.usefixtures("untold")
def test_a_class_that_lacks_what_every_custody_has_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(RequestError, match="lacks converts_to, data_keys_per_page, deal, "):
        make_vault(tmp_path / "vault", Settings(STORE, MODULE), custody=UNTOLD)

    assert not (tmp_path / "vault").exists()


def test_every_custody_of_the_table_has_the_name_that_it_stands_under():
    assert {name: custody_class(name).name for name in KINDS} == {name: name for name in KINDS}
