"""Recover: a hierarchical vault rebuilt from its master key and a list of its users.

The list says what the derivation needs and the HSM does not know: who, which suite and generation, which epoch and
offer. What it does not know of a key stays locked until the application authorises a claim with a new code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from icehouse.custody import NOTHING_TO_OPEN, Verb, check_allowed
from icehouse.errors import RequestError
from icehouse.model import (
    MAX_EPOCH,
    NO_DATA_KEY,
    NO_OFFER_ID,
    REMOVED,
    SERVER,
    SERVER_NUMBER,
    SUITES,
    THRESHOLD,
    Key,
    Sealed,
    State,
    check_suite,
    check_user,
)
from icehouse.store.bulk import insert_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from icehouse.vault.vault import Vault

_PARTICIPANTS = 2
_NAMED = 5
_FIELDS = {"user", "suite", "generation", "threshold", "participants", "epoch", "next_epoch", "offer_id", "state"}
_BESIDE = {"key", "public_key", "due", "changed"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A user as a list has them. `epoch` or `offer_id` of None: not known."""

    user: str
    suite: str = SUITES[0]
    generation: int = 0
    epoch: int | None = None
    next_epoch: int | None = None
    offer_id: bytes | None = None
    state: State = State.LIVE
    public_key: bytes | None = None
    key_id: bytes | None = None
    shown: str | None = None
    """The state as people are told it, where that is another word."""
    due: str | None = None
    changed: str | None = None

    @classmethod
    def of(cls, key: Key, shown: str | None = None) -> Listed:
        """A key as a list has it; `shown` is its state in the word that callers are told, where that is another."""
        due = key.due_day
        return cls(
            key.user,
            key.suite,
            key.generation,
            key.epoch,
            key.next_epoch,
            key.offer_id,
            key.state,
            key.group.public_key,
            key.key_id,
            shown,
            None if due is None else due.isoformat(),
            key.changed_at.isoformat(),
        )

    def entry(self) -> dict[str, object]:
        """The entry that `parse` reads."""
        return {
            "user": self.user,
            "key": None if self.key_id is None else self.key_id.hex(),
            "suite": self.suite,
            "generation": self.generation,
            "threshold": THRESHOLD,
            "participants": [self.user, SERVER],
            "epoch": self.epoch,
            "next_epoch": self.next_epoch,
            "offer_id": None if self.offer_id is None else self.offer_id.hex(),
            "state": self.shown or str(self.state),
            "public_key": None if self.public_key is None else self.public_key.hex(),
            "due": self.due,
            "changed": self.changed,
        }

    @classmethod
    def parse(cls, entry: Mapping[str, Any], place: str) -> Listed:
        """Read one entry of `users list --format json`; raises `RequestError` that names the place."""
        try:
            return cls._parse(entry)
        except (KeyError, TypeError, ValueError) as exc:
            msg = f"{place} is no entry of a list of users: {exc}"
            raise RequestError(msg) from exc
        except RequestError as exc:
            msg = f"{place}: {exc}"
            raise RequestError(msg) from exc

    @classmethod
    def _parse(cls, entry: Mapping[str, Any]) -> Listed:
        unknown = sorted(entry.keys() - _FIELDS - _BESIDE)
        if unknown:
            msg = f"it has no field {', '.join(unknown)}"
            raise ValueError(msg)
        user = check_user(entry["user"])
        shape = (entry.get("threshold", THRESHOLD), entry.get("participants", [user, SERVER]))
        if shape != (THRESHOLD, [user, SERVER]):
            msg = f"keys are 2-of-2 with participants [user, {SERVER!r}], not {shape[0]} of {shape[1]!r}"
            raise ValueError(msg)
        offer_id = entry.get("offer_id")
        public_key = entry.get("public_key")
        return cls(
            user,
            check_suite(entry.get("suite", SUITES[0])),
            _number(entry.get("generation", 0)),
            None if entry.get("epoch") is None else _number(entry["epoch"]),
            None if entry.get("next_epoch") is None else _number(entry["next_epoch"]),
            None if offer_id is None else bytes.fromhex(offer_id),
            _state(entry.get("state", State.LIVE)),
            None if public_key is None else bytes.fromhex(public_key),
        )


def _state(word: str) -> State:
    return State.DESTROYED if word == REMOVED else State(word)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_EPOCH:
        msg = f"{value!r} is no number below 2^53"
        raise ValueError(msg)
    return value


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was rebuilt: keys whose devices go on, keys that wait for a new code, keys that were destroyed."""

    live: int = 0
    locked: int = 0
    destroyed: int = 0


def recover(vault: Vault, listed: Iterable[Listed], floor: int | None, *, create_unknown: bool) -> Recovered:
    """Rebuild the key of every user in a list. Nothing is written unless every public key in it matches.

    `floor`: no epoch up to it is offered again to a key whose epochs are not known.
    """
    check_allowed(vault.custody, Verb.REBUILD)
    entries = list(listed)
    _refuse_doubles(entries)
    keys = _rebuilt(vault, entries, floor, create_unknown=create_unknown)
    # All in one transaction: killed anywhere, the database holds no vault, and the same call begins again.
    insert_keys(vault.store, keys)
    return Recovered(
        sum(key.state in {State.LIVE, State.SUSPENDED} for key in keys),
        sum(key.state is State.LOST for key in keys),
        sum(key.state is State.DESTROYED for key in keys),
    )


def _refuse_doubles(entries: Sequence[Listed]) -> None:
    users = [entry.user for entry in entries]
    if len(set(users)) != len(users):
        seen: set[str] = set()
        twice = sorted({user for user in users if user in seen or seen.add(user)})  # type: ignore[func-returns-value]
        msg = f"the list names users twice: {', '.join(twice[:_NAMED])}"
        raise RequestError(msg)


def _rebuilt(vault: Vault, entries: Sequence[Listed], floor: int | None, *, create_unknown: bool) -> list[Key]:
    wrong: list[str] = []
    keys = []
    for entry in entries:
        if entry.public_key is None and not create_unknown:
            msg = f"the list has no public key of {entry.user!r}: nothing shows that the vault ever had this user"
            raise RequestError(msg, hint="to make a key for such users, say --create-unknown")
        key = _key_of(vault, entry, floor)
        if entry.public_key is not None and key.group.public_key != entry.public_key:
            wrong.append(entry.user)
        keys.append(key)
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        msg = f"{len(wrong)} public keys of the list are not those derived: {', '.join(wrong[:_NAMED])}{more}"
        raise RequestError(msg, hint="are the vault id, the number of buckets and the list those of this vault?")
    return keys


def _key_of(vault: Vault, entry: Listed, floor: int | None) -> Key:
    known = entry.state in {State.LIVE, State.SUSPENDED} and bool(entry.epoch) and entry.offer_id is not None
    gone = entry.state is State.DESTROYED
    if not known and not gone and floor is None:
        msg = f"the epoch of {entry.user!r} is not known, and no floor was given"
        raise RequestError(msg, hint="state an epoch that no key ever went beyond: --floor N")
    epoch = entry.epoch if known and entry.epoch else 0
    offer_id = entry.offer_id if known else None
    path = (entry.suite, entry.generation, THRESHOLD, _PARTICIPANTS, epoch, offer_id or NO_OFFER_ID)
    commitments, shares = vault.custody.deal(entry.user, path)
    key = Key(
        id=0,
        rev=0,
        vault=vault.vault_id,
        user=entry.user,
        suite=entry.suite,
        generation=entry.generation,
        epoch=epoch,
        next_epoch=max(epoch + 1, entry.next_epoch or 0, (floor or 0) + 1),
        state=entry.state if known or gone else State.LOST,
        origin=vault.origin,
        attested=vault.custody.hsm.info.attested,
        due=0,
        commitments=commitments,
        salt=None,
        offer_id=offer_id,
        sealed=Sealed(NO_DATA_KEY, b""),
    )
    if gone:
        return key
    return replace(key, sealed=vault.custody.seal_share(key, shares[SERVER_NUMBER - 1], NOTHING_TO_OPEN))
