"""A vault that comes to nothing leaves nothing in its HSM."""

from __future__ import annotations

from contextlib import closing

import pytest

from icehouse import create_hsm_frost
from icehouse.errors import ConflictError, HsmError
from icehouse.hsm import open_hsm
from icehouse.vault.opening import create_vault
from icehouse.vault.settings import Settings


@pytest.fixture
def module(tmp_path):
    """A simulated HSM in a file: what `create_hsm_frost` is told, and the URI."""
    (tmp_path / "pin").write_text("648219")
    uri = f"simulated:{tmp_path}/token?pin-source=file:{tmp_path}/pin"
    open_hsm(uri, create=True).close()
    return {"path": tmp_path / "token", "pin_source": tmp_path / "pin"}, uri


@pytest.mark.parametrize("fault", ["unavailable", "refused"])
@pytest.mark.parametrize(
    ("custody", "operation"),
    [
        (custody, number)
        for custody, made in (("hybrid", 2), ("hierarchical", 1), ("direct", 1))
        for number in range(1, made + 2)
    ],
)
def test_a_vault_whose_hsm_fails_while_it_is_made_leaves_no_key_behind(module, tmp_path, custody, operation, fault):
    config, uri = module
    store = f"sqlite:///{tmp_path}/vault.db"
    with pytest.raises(HsmError, match=f"operation {operation} "):
        create_hsm_frost("simulated", config | {"faults": {operation: fault}}, custody=custody, store=store)

    with closing(open_hsm(uri)) as hsm:
        assert hsm.keys("") == []
    with create_hsm_frost("simulated", config, custody=custody, store=store) as frost:
        assert frost.create_users(["alice"]).created == 1


def test_whoever_comes_second_to_the_same_database_takes_its_keys_away(module, tmp_path, monkeypatch):
    config, uri = module
    store = f"sqlite:///{tmp_path}/vault.db"
    with create_hsm_frost("simulated", config, store=store) as frost:
        first = frost.hsm.keys("")
        # Whoever looked before the first had written found an empty database.
        monkeypatch.setattr("icehouse.vault.opening.VaultStore.open", lambda _: None)
        with pytest.raises(ConflictError):
            create_vault(Settings(store, uri), "hybrid")

        assert frost.hsm.keys("") == first
