"""SIGKILL at every statement of a bulk creation: nobody is lost or doubled, and a repetition finishes it."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing

from crash.processes import ProcessDiedError
from crash.stories import INIT, OPEN_VAULT, play

USERS = 1030
"""One full page, and another that shares its data keys with nobody."""


def rows(scene):
    """Who has which key."""
    with closing(sqlite3.connect(scene.vault_path / "vault.db")) as database:
        return database.execute("SELECT user, key_tag, commitments FROM keys ORDER BY id").fetchall()


def test_a_bulk_creation_killed_at_any_statement_is_finished_by_a_repetition(scene, tmp_path):
    play(scene, (INIT, OPEN_VAULT))
    scene.save(tmp_path / "template")

    for at in itertools.count(1):
        scene.restore(tmp_path / "template")
        scene.open("vault")
        scene.worker("vault").do("arm", at=at, writes=0)
        try:
            scene.vault("create_users", count=USERS)
            scene.worker("vault").do("disarm")
            break
        except ProcessDiedError:
            scene.bury("vault")
        before = rows(scene)
        assert len(before) in {0, 1024, USERS}
        scene.open("vault")
        made, existing = scene.vault("create_users", count=USERS)

        assert (made, existing) == (USERS - len(before), len(before))
        after = rows(scene)
        assert after[: len(before)] == before
        assert len({user for user, *_ in after}) == len(after) == USERS
        scene.count_records()

    found = scene.vault("check")
    assert found["keys"] == USERS
    assert found["wrong"] == found["miscounts"] == []
    assert scene.kills > 20
