"""SIGKILL at every point of every ceremony, on either side; then the story goes on."""

from __future__ import annotations

import pytest

from crash.stories import (
    ASK_AND_FORGET,
    CREATE,
    DESTROY,
    ENROL,
    ENROL_ANEW,
    ENROL_CUT_OFF,
    INIT,
    MAKE,
    MARK_DUE,
    MINT,
    OPEN_VAULT,
    ROTATE,
    SIGN,
    kill_at_points,
)

FOUNDED = (INIT, OPEN_VAULT)
MINTED = (*FOUNDED, CREATE, MINT, MAKE)
ENROLLED = (*MINTED, ENROL)

STORIES = {
    "init": ((), INIT, ("vault",)),
    "create": (FOUNDED, CREATE, ("vault",)),
    "mint": ((*FOUNDED, CREATE), MINT, ("vault",)),
    "make-device": ((*FOUNDED, CREATE, MINT), MAKE, ("device",)),
    "enrol": (MINTED, ENROL, ("vault", "device")),
    "enrol-with-newer-code": ((*MINTED, ENROL_CUT_OFF, MINT), ENROL_ANEW, ("vault", "device")),
    "sign": (ENROLLED, SIGN, ("vault", "device")),
    "rotate": (ENROLLED, ROTATE, ("vault", "device")),
    "abandon-what-stands-in-the-way": ((*ENROLLED, ASK_AND_FORGET), ROTATE, ("vault", "device")),
    "mark-due": (ENROLLED, MARK_DUE, ("vault",)),
    "do-what-is-due": ((*ENROLLED, MARK_DUE), SIGN, ("vault", "device")),
    "destroy": ((*FOUNDED, CREATE), DESTROY, ("vault",)),
}
CASES = [(name, side) for name, (_, _, sides) in STORIES.items() for side in sides]


@pytest.mark.parametrize(("name", "side"), CASES)
def test_a_kill_at_any_point_loses_nothing(scene, tmp_path, name, side):
    before, act, _ = STORIES[name]
    kills = kill_at_points(scene, tmp_path / "template", FOUNDED, (before, act), side, stride=1)

    assert scene.kills == kills > 0
