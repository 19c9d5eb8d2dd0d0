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

# What was done before, what is killed in its midst, and on which side at least how many times.
STORIES = {
    "init": ((), INIT, {"vault": 50}),
    "create": (FOUNDED, CREATE, {"vault": 20}),
    "mint": ((*FOUNDED, CREATE), MINT, {"vault": 10}),
    "make-device": ((*FOUNDED, CREATE, MINT), MAKE, {"device": 5}),
    "enrol": (MINTED, ENROL, {"vault": 30, "device": 20}),
    "enrol-with-newer-code": ((*MINTED, ENROL_CUT_OFF, MINT), ENROL_ANEW, {"vault": 35, "device": 30}),
    "sign": (ENROLLED, SIGN, {"vault": 8, "device": 6}),
    "rotate": (ENROLLED, ROTATE, {"vault": 25, "device": 20}),
    "abandon-what-stands-in-the-way": ((*ENROLLED, ASK_AND_FORGET), ROTATE, {"vault": 40, "device": 30}),
    "mark-due": (ENROLLED, MARK_DUE, {"vault": 8}),
    "do-what-is-due": ((*ENROLLED, MARK_DUE), SIGN, {"vault": 30, "device": 25}),
    "destroy": ((*FOUNDED, CREATE), DESTROY, {"vault": 5}),
}
CASES = [(name, side, least) for name, (_, _, sides) in STORIES.items() for side, least in sides.items()]


def test_there_are_more_than_two_hundred_kills():
    assert sum(least for _, _, least in CASES) > 200


@pytest.mark.parametrize(("name", "side", "least"), CASES)
def test_a_kill_at_any_point_loses_nothing(scene, tmp_path, name, side, least):
    before, act, _ = STORIES[name]
    kills = kill_at_points(scene, tmp_path / "template", FOUNDED, (before, act), side, stride=1)

    assert scene.kills == kills >= least
