"""Every way to make a vault act on a key: the messages its device could send, and the application's calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse._core import DeviceState, Passphrase
from tamper.attacker import WORD
from tamper.world import offer_id, random_device_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tamper.world import World


def copy_of(state: DeviceState) -> DeviceState:
    """The same device once more, as a thief of its file has it."""
    return DeviceState.from_file(state.to_file(Passphrase(WORD), 1), Passphrase(WORD))


def messages(world: World, state: str, user: str) -> dict[str, str]:
    """The messages that are served in this state, by who speaks and what for."""
    device = world.devices[user]
    found: dict[str, str] = {}
    if state in {"code", "claiming"}:
        found["code:status"] = device.ask_status()
        found["code:abandon"] = device.ask_abandon(offer_id())
        found["code:claim" if state == "code" else "code:other"] = _another(device).ask()
    if state in {"live", "rotating"}:
        found["current:status"] = device.ask_status()
        found["current:abandon"] = device.ask_abandon(offer_id())
        found["current:sign"] = device.ask_signature(b"text")[1]
        found["current:rotate" if state == "live" else "current:other"] = _another(device).ask()
    if state in {"claiming", "rotating"}:
        found["offered:proof"] = device.ask_proof()[1]
        found["offered:prove"] = _proved(world, device).ask_commit()
    return found


def calls(world: World, state: str, user: str) -> dict[str, Callable[[], object]]:
    """What the application can ask for in this state."""
    found: dict[str, Callable[[], object]] = {
        "app:facts": lambda: world.service.get_shards(user),
        "app:check": lambda: world.service.check_user(user),
    }
    if state not in {"live", "rotating"}:
        found["app:mint"] = lambda: world.service.enrolment_code(user)
    return found


def _another(device: DeviceState) -> DeviceState:
    """The same device with another X25519 key."""
    other = copy_of(device)
    if other.facts()["pending"] is not None or not other.facts()["requesting"]:
        return random_device_key(other)
    return other


def _proved(world: World, device: DeviceState) -> DeviceState:
    own = copy_of(device)
    world.prove(own)
    return own
