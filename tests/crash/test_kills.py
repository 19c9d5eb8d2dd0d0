"""SIGKILL at every point of every ceremony, on either side; then the story goes on."""

from __future__ import annotations

import itertools

import pytest

from crash.processes import ProcessDiedError
from crash.scene import USER, Act

INIT = Act("vault", "init", {"path": "VAULT"})
OPEN_VAULT = Act("vault", "open", {"path": "VAULT"})
CREATE = Act("vault", "create", {"user": USER})
MINT = Act("vault", "mint", {"user": USER})
MARK_DUE = Act("vault", "mark_due", {"user": USER})
MAKE = Act("device", "open", {"path": "DEVICE", "user": USER})
ENROL = Act("device", "enrol", {"token": "TOKEN"})
ENROL_CUT_OFF = Act("device", "enrol_cut_off", {"token": "TOKEN"})
ENROL_ANEW = Act("device", "enrol_anew", {"token": "TOKEN"})
SIGN = Act("device", "sign", {"text": "bye"})
ROTATE = Act("device", "rotate", {})
ASK_AND_FORGET = Act("device", "ask_and_forget", {"path": "DEVICE"})

FOUNDED = (INIT, OPEN_VAULT)
MINTED = (*FOUNDED, CREATE, MINT, MAKE)
ENROLLED = (*MINTED, ENROL)

# What was done before, what is killed in its midst, and on which side at least how many times.
STORIES = {
    "init": ((), INIT, {"vault": 50}),
    "create": (FOUNDED, CREATE, {"vault": 25}),
    "mint": ((*FOUNDED, CREATE), MINT, {"vault": 10}),
    "make-device": ((*FOUNDED, CREATE, MINT), MAKE, {"device": 5}),
    "enrol": (MINTED, ENROL, {"vault": 30, "device": 20}),
    "enrol-with-newer-code": ((*MINTED, ENROL_CUT_OFF, MINT), ENROL_ANEW, {"vault": 35, "device": 30}),
    "sign": (ENROLLED, SIGN, {"vault": 8, "device": 6}),
    "rotate": (ENROLLED, ROTATE, {"vault": 25, "device": 20}),
    "abandon-what-stands-in-the-way": ((*ENROLLED, ASK_AND_FORGET), ROTATE, {"vault": 40, "device": 30}),
    "mark-due": (ENROLLED, MARK_DUE, {"vault": 8}),
    "do-what-is-due": ((*ENROLLED, MARK_DUE), SIGN, {"vault": 30, "device": 25}),
}
CASES = [(name, side, least) for name, (_, _, sides) in STORIES.items() for side, least in sides.items()]


def test_there_are_more_than_two_hundred_kills():
    assert sum(least for _, _, least in CASES) > 200


def play(scene, acts):
    """Play acts, and keep what later ones need."""
    for act in acts:
        result = act.play(scene)
        if act is CREATE:
            assert scene.public_key in {None, result}, "the public key moved"
            scene.public_key = str(result)
        if act is MINT:
            scene.token = str(result)


def go_on(scene):
    """Whatever was not reached yet; then a signature, a rotation, and another signature."""
    if scene.public_key is None:
        play(scene, (*FOUNDED, CREATE))
    if not scene.token:
        play(scene, (MINT,))
    play(scene, (MAKE, ENROL))
    before = scene.sign()
    play(scene, (ROTATE,))

    assert scene.sign() > before
    scene.check()


def survived(scene, side):
    """Whether a process came through; one that did not is buried and started again."""
    try:
        scene.worker(side).do("disarm")
    except ProcessDiedError:
        scene.bury(side)
        if (scene.vault_path / "vault.toml").exists():
            scene.open(side)


@pytest.mark.parametrize(("name", "side", "least"), CASES)
def test_a_kill_at_any_point_loses_nothing(scene, tmp_path, name, side, least):
    before, act, _ = STORIES[name]
    play(scene, before)
    public_key, token = scene.public_key, scene.token
    roles = [role for role in ("vault", "device") if role in scene.workers]
    scene.save(tmp_path / "template")

    for at in itertools.count(1):
        scene.restore(tmp_path / "template")
        scene.public_key, scene.token = public_key, token
        for role in roles if before else ():
            scene.open(role)
        scene.worker(side).do("arm", at=at, writes=0)
        kills = scene.kills
        play(scene, (act,))
        survived(scene, side)
        if scene.kills == kills:
            break
        go_on(scene)

    assert scene.kills == at - 1 >= least
