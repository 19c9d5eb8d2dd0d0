"""A vault with a key of every suite in every state, what each may say, and whether a change is one it may make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icehouse._core import DeviceState
from icehouse.model import SUITES
from icehouse.store.schema import claims, keys, offers
from tamper.attacker import channel_of, inside, payload_of
from tamper.probes import copy_of
from tamper.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tamper.world import Rows

STATES = ("code", "claiming", "live", "rotating", "suspended")
SPEAKERS = {"code": ("code",), "claiming": ("code", "offered"), "live": ("current",), "suspended": ("current",)}
SPEAKERS["rotating"] = ("current", "offered")
_SIGNATURES = {"ed25519": 64, "secp256k1-tr": 64, "secp256k1": 65, "p256": 65, "ristretto255": 64, "ed448": 114}
Payload = dict[str, Any]
_KEY = {column.name: at for at, column in enumerate(keys.columns)}
_OFFER = {column.name: at for at, column in enumerate(offers.columns)}
_BESIDE = (claims.name, offers.name)
_FIXED = ("user_tag", "key_tag", "user", "suite", "generation", "origin", "attested")


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks: the row of the key, its id and suite, the epoch of the `kid`, the key of the MAC."""

    row: int
    suite: str
    key_id: bytes
    epoch: int
    mac_key: bytes
    payloads: dict[str, Payload]
    """An honest payload of every type this voice is served, by type."""


class Street(World):
    """The vault, and what its database held when everybody had moved in."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, cache_keys=1024, limit_burst=10**9)
        self.raw.text_factory = lambda raw: raw.decode(errors="surrogateescape")  # what was bent may be no text
        self.voices: list[Voice] = []
        for suite in SUITES:
            for state in STATES:
                self._move_in(suite, state)
        self.rows = self.snapshot()

    @property
    def version(self) -> int:
        """Another number whenever somebody else wrote into the database."""
        return int(self.sql("PRAGMA data_version")[0][0])

    def _move_in(self, suite: str, state: str) -> None:
        user = f"{suite} {state}"
        self.service.create_user_frost_shards(user, suite=suite)
        device = DeviceState(user)
        device.take_token(self.service.enrolment_code(user))
        device.prepare()
        said: dict[str, dict[str, Payload]] = {"code": {"claim": payload_of(device.ask())}}
        if state != "code":
            device.accept_offer(self.say(device.ask()))
        if state == "claiming":
            said["offered"] = self._offered(device)
        if state in {"live", "rotating", "suspended"}:
            self.finish(device)
            said["current"] = self._current(user, device)
        if state == "rotating":
            device.accept_offer(self.say(device.ask()))
            said["offered"] = self._offered(device)
        if state == "suspended":
            self.service.suspend_user(user)
        for speaker in SPEAKERS[state]:
            self._introduce(user, device, speaker, said[speaker])

    def _current(self, user: str, device: DeviceState) -> dict[str, Payload]:
        device.prepare()
        key = self.key(user)
        assert key.offer_id is not None
        signed = {"offer_id": key.offer_id.hex(), "signature": "00" * _SIGNATURES[key.suite]}
        again = {"v": 1, "type": "prove", "key": key.key_id.hex(), "epoch": key.epoch} | signed
        asked = {"rotate": device.ask(), "sign": device.ask_signature(b"text")[1]}
        return {kind: payload_of(text) for kind, text in asked.items()} | {"prove": again}

    def _offered(self, device: DeviceState) -> dict[str, Payload]:
        own = copy_of(device)
        question = device.ask_proof()[1]
        self.prove(own)
        return {"proof": payload_of(question), "prove": payload_of(own.ask_commit())}

    def _introduce(self, user: str, device: DeviceState, speaker: str, payloads: dict[str, Payload]) -> None:
        key = self.key(user)
        if speaker == "code":
            mac_key, epoch = bytes.fromhex(inside(device)["token"]["code"]), 0
        elif speaker == "offered":
            assert key.offer is not None
            mac_key, epoch = channel_of(device, "pending"), key.offer.epoch
        else:
            mac_key, epoch = channel_of(device), key.epoch
        base = {"v": 1, "key": key.key_id.hex(), "epoch": epoch}
        standing = key.offer.offer_id if key.offer else bytes(16)
        payloads = payloads | {
            "status": base | {"type": "status"},
            "abandon": base | {"type": "abandon", "offer_id": standing.hex()},
        }
        self.voices.append(Voice(key.id, key.suite, key.key_id, epoch, mac_key, payloads))


def wrong_change(before: Rows, after: Rows, voice: Voice | None, answered: str) -> str | None:
    """What an honest message, answered so, would not have changed; None where nothing is wrong."""
    touched = {table for table in before if before[table] != after[table]}
    if voice is not None and answered == "bare:unavailable" and touched == {"vault"}:
        return None  # a new data key took its number, and failed: no other gets that number
    if voice is None or answered not in {"offer", "committed", "abandoned"}:
        return f"the database changed, and the answer is {answered}"
    touched -= {"keys", "vault", "data_keys", *_BESIDE}
    if touched:
        return f"{touched} changed"
    for table in ("keys", *_BESIDE):
        others = [[row for row in rows[table] if row[0] != voice.row] for rows in (before, after)]
        if others[0] != others[1]:
            return f"another key's row in {table} changed"
    return _wrong_key(before, after, voice, answered)


def _wrong_key(before: Rows, after: Rows, voice: Voice, answered: str) -> str | None:
    old, new = (next(row for row in rows["keys"] if row[0] == voice.row) for rows in (before, after))
    offer, now = (next((row for row in rows["offers"] if row[0] == voice.row), None) for rows in (before, after))
    if any(old[_KEY[name]] != new[_KEY[name]] for name in _FIXED):
        return "what a key is for ever changed"
    if new[_KEY["rev"]] != old[_KEY["rev"]] + 1:
        return "the row's revision is not the next one"
    size = len(old[_KEY["commitments"]]) // 2
    if new[_KEY["commitments"]][:size] != old[_KEY["commitments"]][:size]:
        return "the public key changed"
    moved = {name: (old[_KEY[name]], new[_KEY[name]]) for name in ("epoch", "next_epoch", "commitments", "state")}
    return _ANSWERS[answered](moved, offer, now)


def _after_offer(moved: dict[str, Any], _: Any, now: Any) -> str | None:
    stays = all(moved[name][0] == moved[name][1] for name in ("epoch", "commitments", "state"))
    burnt = moved["next_epoch"][1] == moved["next_epoch"][0] + 1
    stands = now is not None and now[_OFFER["epoch"]] == moved["next_epoch"][0]
    return None if stays and burnt and stands else f"an offer was made, and {moved} does not fit it"


def _after_commit(moved: dict[str, Any], offer: Any, now: Any) -> str | None:
    committed = offer is not None and now is None
    fits = committed and moved["epoch"][1] == offer[_OFFER["epoch"]]
    fits = fits and moved["commitments"][1] == offer[_OFFER["commitments"]]
    return None if fits else f"an offer was committed, and {moved} does not fit it"


def _after_abandon(moved: dict[str, Any], offer: Any, now: Any) -> str | None:
    stays = all(moved[name][0] == moved[name][1] for name in ("epoch", "commitments", "state"))
    burnt = moved["next_epoch"][1] == moved["next_epoch"][0] + 1
    return None if stays and burnt and offer and now is None else f"an offer was abandoned, and {moved} does not fit"


_ANSWERS = {"offer": _after_offer, "committed": _after_commit, "abandoned": _after_abandon}
