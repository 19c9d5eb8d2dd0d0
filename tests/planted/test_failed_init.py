"""An `init` that fails takes back what it made, and no module that another vault's keys are in."""

from __future__ import annotations

import pytest

from icehouse.errors import IcehouseError
from icehouse.hsm import KeyKind, open_hsm
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.vault import init
from icehouse.vault.init import make_vault
from icehouse.vault.settings import Settings

FOREIGN = f"icehouse-{'0' * 32}-kek-1"


@pytest.fixture
def uri(tmp_path):
    (tmp_path / "pin").write_text("12345\n")
    return f"simulated:{tmp_path}/token?pin-source=file:{tmp_path}/pin"


def foreign_key(uri, *, create=False):
    hsm = open_hsm(uri, create=create)
    hsm.create_key(FOREIGN, KeyKind.AES)
    hsm.close()


def labels_in(uri):
    hsm = open_hsm(uri)
    try:
        return [key.label for key in hsm.keys("")]
    finally:
        hsm.close()


def test_a_module_that_another_vault_came_to_use_meanwhile_stays(tmp_path, monkeypatch, uri):
    real = SimulatedHsm.create_key

    def after_another(self, label, kind):
        monkeypatch.undo()
        foreign_key(uri)
        return real(self, label, kind)

    monkeypatch.setattr(SimulatedHsm, "create_key", after_another)
    with pytest.raises(IcehouseError):
        make_vault(tmp_path / "vault", Settings(f"sqlite:///{tmp_path}/nowhere/vault.db", uri))

    assert FOREIGN in labels_in(uri)


def test_a_module_that_another_process_made_first_stays(tmp_path, monkeypatch, uri):
    def after_another(own, *, create=False):
        monkeypatch.undo()
        foreign_key(uri, create=True)
        return open_hsm(own, create=create)

    monkeypatch.setattr(init, "open_hsm", after_another)
    with pytest.raises(IcehouseError, match="exists already"):
        make_vault(tmp_path / "vault", Settings(f"sqlite:///{tmp_path}/vault.db", uri))

    assert labels_in(uri) == [FOREIGN]


def test_a_module_that_it_made_for_itself_goes_with_it(tmp_path, uri):
    with pytest.raises(IcehouseError):
        make_vault(tmp_path / "vault", Settings(f"sqlite:///{tmp_path}/nowhere/vault.db", uri))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["pin"]
