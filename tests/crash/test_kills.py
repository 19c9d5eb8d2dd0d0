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
}
CASES = [(name, side) for name, (_, _, sides) in STORIES.items() for side in sides]


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


@pytest.mark.parametrize(("name", "side"), CASES)
def test_a_kill_at_any_point_loses_nothing(scene, tmp_path, name, side):
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

    assert scene.kills == at - 1
