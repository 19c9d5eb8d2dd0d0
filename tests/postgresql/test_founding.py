"""Vaults that are founded, rebuilt or founded twice, with their rows in PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from consenting import destroyed
from icehouse.errors import ConflictError, StoreError
from icehouse.service import FrostService
from icehouse.store.counts import miscounts
from icehouse.upkeep.rebuild import Rebuild, rebuild
from icehouse.upkeep.recover import Listed
from icehouse.vault.init import MODULE, make_vault
from icehouse.vault.settings import Settings
from servers.lost_answers import LossyWire
from upkeep.scene import Scene


@pytest.fixture
def wire(postgresql):
    own = LossyWire(postgresql.port)
    yield own
    own.close()


def test_a_founding_whose_commit_was_not_answered_is_finished_by_the_same_call(postgresql, wire, tmp_path):
    wanted = Settings(postgresql.new_url().replace(f":{postgresql.port}/", f":{wire.port}/"), MODULE)
    wire.lose(after=1)  # the first commit makes the tables
    with pytest.raises(StoreError, match="the database failed"):
        make_vault(tmp_path / "vault", wanted)
    assert wire.lost == 1
    make_vault(tmp_path / "vault", wanted)

    with FrostService.open(tmp_path / "vault") as frost:
        frost.create_users(["alice"])
        assert frost.check() == 1


def test_of_two_vaults_founded_at_once_in_one_schema_one_is_refused_and_leaves_nothing(postgresql, tmp_path):
    url, barrier = postgresql.new_url(), Barrier(2)

    def make(name):
        barrier.wait()
        try:
            return make_vault(tmp_path / name, Settings(url, MODULE))
        except ConflictError as exc:
            return exc

    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(zip("ab", pool.map(make, "ab"), strict=True))
    (loser,) = (name for name, outcome in outcomes.items() if isinstance(outcome, ConflictError))
    (winner,) = set("ab") - {loser}

    assert not (tmp_path / loser).exists()
    with FrostService.open(tmp_path / winner) as frost:
        assert frost.create_users(["alice"]).created == 1


def test_a_hierarchical_vault_is_rebuilt_in_another_database(postgresql, tmp_path):
    scene = Scene(tmp_path / "lost", "hierarchical", 12, 3, postgresql.new_url())
    frost = scene.open()
    scene.rotate_all(frost)
    destroyed(frost, "u9")
    listed, vault_id = list(frost.listing()), frost.vault.vault_id
    scene.close()
    hsm = f"simulated:{scene.directory}/hsm.token?pin-source=file:{scene.directory}/hsm.pin"
    wanted = Settings(postgresql.new_url(), hsm)
    done = rebuild(tmp_path / "rebuilt", wanted, Rebuild(vault_id, 3, listed, floor=9))

    assert (done.live, done.locked, done.destroyed) == (3, 8, 1)
    with FrostService.open(tmp_path / "rebuilt") as frost:
        scene.rotate_all(frost)
        assert list(map(Listed.of, frost.vault.store.every_key())) != []
        assert miscounts(frost.vault.store) == []
    with pytest.raises(ConflictError):
        rebuild(tmp_path / "again", wanted, Rebuild(vault_id, 3, listed, floor=9))
