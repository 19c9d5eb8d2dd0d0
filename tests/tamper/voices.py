"""Who may speak in each state, with the raw key of each voice, and a right payload of every type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tamper.attacker import b64, channel_of, inside, message, payload_of
from tamper.probes import copy_of
from tamper.world import random_device_key

if TYPE_CHECKING:
    from tamper.world import World

TYPES = ("claim", "rotate", "sign", "proof", "prove", "abandon", "status")
SERVED = {
    "code": {"claim", "abandon", "status"},
    "current": {"rotate", "sign", "prove", "abandon", "status"},
    "offered": {"proof", "prove"},
}
# The state, and who can speak in it.
VOICES = (("code", "code"), ("claiming", "code"), ("claiming", "offered"), ("live", "current"))
VOICES += (("rotating", "current"), ("rotating", "offered"))


@dataclass(frozen=True)
class Voice:
    """A speaker: its key, and what its `kid` says."""

    mac_key: bytes
    key_id: bytes
    epoch: int

    def says(self, payload: dict[str, Any] | list[Any] | bytes) -> str:
        return message(self.mac_key, self.key_id, self.epoch, payload)


def voice(world: World, speaker: str, user: str = "alice") -> Voice:
    """What a device with this user's secrets speaks with."""
    device, key = world.devices[user], world.key(user)
    if speaker == "code":
        return Voice(bytes.fromhex(inside(device)["token"]["code"]), key.key_id, 0)
    if speaker == "current":
        return Voice(channel_of(device), key.key_id, key.epoch)
    assert key.offer is not None
    return Voice(channel_of(device, "pending"), key.key_id, key.offer.epoch)


def right(world: World, kind: str, own: Voice, user: str = "alice") -> dict[str, Any]:
    """A payload of this type with nothing wrong in it, whether or not it is served."""
    key = world.key(user)
    base = {"v": 1, "type": kind, "key": own.key_id.hex(), "epoch": own.epoch}
    if kind in {"claim", "rotate"}:
        return base | {"participant": 1, "device_key": device_key(world, user)}
    if kind in {"sign", "proof"}:
        text = b"text"
        if kind == "proof" and key.offer is not None:
            text = key.offered_group(key.offer).proof_message(key.offer.offer_id, key.offer.device_key)
        rest = {"purpose": kind, "message": b64(text), "taproot_root": None, "commitments": [commitments(world)]}
        return base | {"type": "cosign"} | rest
    if kind == "prove":
        return base | proof(world, own, user)
    if kind == "abandon":
        return base | {"offer_id": bytes(range(16)).hex()}
    return base


def device_key(world: World, user: str) -> str:
    """The X25519 key of the standing offer, or a fresh one."""
    offer = world.key(user).offer
    if offer is not None:
        return offer.device_key.hex()
    fresh = random_device_key(copy_of(world.devices[user]))
    return str(payload_of(fresh.ask())["device_key"])


def commitments(world: World) -> dict[str, Any]:
    """Good commitments of participant 1; every key here is of one suite."""
    device = copy_of(world.devices["alice"])
    if device.facts()["pending"] is not None:
        found = payload_of(device.ask_proof()[1])
    elif device.facts()["epoch"]:
        found = payload_of(device.ask_signature(b"text")[1])
    else:
        point = world.key().commitments[:32].hex()
        return {"participant": 1, "hiding": point, "binding": point}
    one: dict[str, Any] = found["commitments"][0]
    return one


def proof(world: World, own: Voice, user: str) -> dict[str, Any]:
    """The standing offer's proof, or what stands for one that was committed."""
    device, key = copy_of(world.devices[user]), world.key(user)
    if device.facts()["pending"] is not None and own.epoch != key.epoch:
        world.prove(device)
        said = payload_of(device.ask_commit())
        return {"offer_id": said["offer_id"], "signature": said["signature"]}
    return {"offer_id": (key.offer_id or bytes(16)).hex(), "signature": "00" * 64}
