"""SIGKILL in the ceremonies of vaults that are not hybrid: points a few apart, so that all custodies get their share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crash.stories import CREATE, DESTROY, ENROL, INIT, MAKE, MINT, OPEN_VAULT, ROTATE, kill_at_points

CUSTODIES = {"direct": ("direct", 0), "hierarchical": ("hierarchical", 0), "hierarchical-buckets": ("hierarchical", 3)}
# The last act is the one that is killed, at points so far apart: custodies differ in creation and destruction most.
STORIES = {
    "init": ((), 9),
    "create": ((CREATE,), 3),
    "mint": ((CREATE, MINT), 5),
    "enrol": ((CREATE, MINT, MAKE, ENROL), 9),
    "rotate": ((CREATE, MINT, MAKE, ENROL, ROTATE), 9),
    "destroy": ((CREATE, DESTROY), 3),
}


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("custody", CUSTODIES)
def test_a_kill_of_the_vault_loses_nothing_under_any_custody(scene, tmp_path, custody, name):
    word, buckets = CUSTODIES[custody]
    init = replace(INIT, arguments={**INIT.arguments, "custody": word, "buckets": buckets})
    founded = (init, OPEN_VAULT)
    acts, stride = STORIES[name]
    story = ((*founded, *acts[:-1]), acts[-1]) if acts else ((), init)
    kills = kill_at_points(scene, tmp_path / "template", founded, story, "vault", stride=stride)

    assert scene.kills == kills > 0
