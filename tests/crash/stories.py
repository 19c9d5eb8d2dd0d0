"""What is done to a vault and by a device, and a kill at any point of it; then the story goes on."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from crash.processes import ProcessDiedError
from crash.scene import USER, Act

if TYPE_CHECKING:
    from pathlib import Path

    from crash.scene import Scene

INIT = Act("vault", "init", {"path": "VAULT"})
OPEN_VAULT = Act("vault", "open", {"path": "VAULT"})
CREATE = Act("vault", "create", {"user": USER})
MINT = Act("vault", "mint", {"user": USER})
DESTROY = Act("vault", "destroy", {"user": USER})
MARK_DUE = Act("vault", "mark_due", {"user": USER})
MAKE = Act("device", "open", {"path": "DEVICE", "user": USER})
ENROL = Act("device", "enrol", {"token": "TOKEN"})
ENROL_CUT_OFF = Act("device", "enrol_cut_off", {"token": "TOKEN"})
ENROL_ANEW = Act("device", "enrol_anew", {"token": "TOKEN"})
SIGN = Act("device", "sign", {"text": "bye"})
ROTATE = Act("device", "rotate", {})
ASK_AND_FORGET = Act("device", "ask_and_forget", {"path": "DEVICE"})


def play(scene, acts):
    """Play acts, and keep what later ones need."""
    for act in acts:
        result = act.play(scene)
        if act is CREATE:
            assert scene.public_key in {None, result}, "the public key moved"
            scene.public_key = str(result)
        if act is MINT:
            scene.token = str(result)
        if act is DESTROY:
            scene.public_key, scene.token = None, ""


def go_on(scene, founded):
    """Whatever was not reached yet; then a signature, a rotation, and another signature."""
    if scene.public_key is None:
        play(scene, (*founded, CREATE))
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


def kill_at_points(
    scene: Scene,
    template: Path,
    founded: tuple[Act, ...],
    story: tuple[tuple[Act, ...], Act],
    side: str,
    *,
    stride: int,
) -> int:
    """Kill one side at every `stride`-th point of an act, and go on each time; how many kills there were."""
    before, act = story
    play(scene, before)
    public_key, token = scene.public_key, scene.token
    roles = [role for role in ("vault", "device") if role in scene.workers]
    scene.save(template)

    for at in itertools.count(1, stride):
        scene.restore(template)
        scene.public_key, scene.token = public_key, token
        for role in roles if before else ():
            scene.open(role)
        scene.worker(side).do("arm", at=at, writes=0)
        kills = scene.kills
        play(scene, (act,))
        survived(scene, side)
        if scene.kills == kills:
            return (at - 1) // stride
        go_on(scene, founded)
    raise AssertionError
