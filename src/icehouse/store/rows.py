"""Between tables and the model: small numbers for words, tags for names."""

from __future__ import annotations

from itertools import product
from time import time
from typing import TYPE_CHECKING, Any

from icehouse._core import key_id, user_tags
from icehouse.errors import SealError
from icehouse.model import (
    DEALER,
    MAX_EPOCH,
    MAX_NAME_BYTES,
    NO_DATA_KEY,
    SOFTWARE,
    SUITES,
    Key,
    Sealed,
    StandingOffer,
    State,
)
from icehouse.store.foreign import LAST_SECOND, MOST

if TYPE_CHECKING:
    from collections.abc import Sequence

# Numbers stand in rows for ever: append, never reorder. They start at 2 because SQLite stores 0 and 1 in no bytes,
# and a row that grows by a byte when its state changes splits its page.
_STATES = {State.DEALT: 2, State.LIVE: 3, State.DESTROYED: 4, State.SUSPENDED: 5, State.LOST: 6}
_STATE_OF = {number: state for state, number in _STATES.items()}
_ORIGINS = {DEALER: 2, SOFTWARE: 3}
ORIGINS = tuple(_ORIGINS)
_ORIGIN_OF = {number: origin for origin, number in _ORIGINS.items()}
_SUITE_OF = dict(enumerate(SUITES))  # a list would take negative numbers, too
FIRST_REV = 2
_MOST_REVS = (1 << 31) - 2
_LAST_DAY = (1 << 15) - 1
_NOTHING = Sealed(NO_DATA_KEY, b"")
# While no code was minted the salt's place is kept, so that minting one does not grow the row.
NO_SALT = bytes(16)


def tag(identity: bytes) -> int:
    """The first 64 bits of a hash, as the signed integer a database stores."""
    return int.from_bytes(identity[:8], "big", signed=True)


def user_tag(vault: bytes, user: str) -> int:
    """The tag of a user in a vault."""
    return user_tags(vault, [user])[0]


def key_row(key: Key) -> dict[str, Any]:
    """The columns of a key's row, but its number and `rev`."""
    return {
        "epoch": key.epoch,
        "next_epoch": key.next_epoch,
        "state": _STATES[key.state],
        "origin": _ORIGINS[key.origin],
        "attested": int(key.attested),
        # Below zero where the offer that stands does not satisfy it: another rotation is due after that one's commit.
        "due": -int(key.due) if key.again and key.offer else int(key.due),
        "commitments": key.commitments,
        "salt": NO_SALT if key.salt is None and key.state is State.DEALT else key.salt,
        "offer_id": key.offer_id,
        "data_key": key.sealed.data_key,
        "record": key.sealed.record,
        "changed": int(time()),
    }


def claim_row(key: int, claim: Sealed) -> dict[str, Any]:
    """The columns of a claim record's row."""
    return {"id": key, "data_key": claim.data_key, "record": claim.record}


def offer_row(key: int, offer: StandingOffer) -> dict[str, Any]:
    """The columns of a standing offer's row."""
    return {
        "id": key,
        "epoch": offer.epoch,
        "commitments": offer.commitments,
        "offer_id": offer.offer_id,
        "device_key": offer.device_key,
        "expires": offer.expires,
        "payload": offer.payload,
        "data_key": offer.sealed.data_key,
        "record": offer.sealed.record,
    }


def origin_number(origin: str) -> int:
    """The number that stands for an origin in a row."""
    return _ORIGINS[origin]


def state_number(state: State) -> int:
    """The number that stands for a state in a row."""
    return _STATES[state]


DEALT_NUMBER = _STATES[State.DEALT]


def key_of(row: Sequence[Any], vault: bytes) -> Key:
    """The key of a joined row: `keys`, then `claims`, then `offers`.

    Raises `SealError` where the row contradicts itself.
    """
    number, rev, user_tag_, key_tag, user, suite, generation = row[:7]
    epoch, next_epoch, state, origin, attested, due = row[7:13]
    commitments, salt, offer_id, data_key, record, changed = row[13:19]
    try:
        _check_types(row)
        suite_name = _SUITE_OF[suite]
        if user_tag_ != user_tag(vault, user) or key_tag != tag(key_id(vault, user, suite_name, generation)):
            msg = f"the row of {user!r} does not fit its tags: its user, suite or generation was changed"
            raise SealError(msg)
        key = Key(
            id=number,
            rev=rev,
            vault=vault,
            user=user,
            suite=suite_name,
            generation=generation,
            epoch=epoch,
            next_epoch=next_epoch,
            state=_STATE_OF[state],
            origin=_ORIGIN_OF[origin],
            attested={0: False, 1: True}[attested],
            due=abs(due),
            again=due < 0,
            commitments=commitments,
            salt=None if salt == NO_SALT else salt,
            offer_id=offer_id,
            sealed=Sealed(data_key, record),
            claim=None if row[19] is None else Sealed(row[20], row[21]),
            offer=None if row[22] is None else _offer_of(row[22:]),
            changed=changed,
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as exc:
        msg = f"row {_shown(number)} of the table of keys holds a value that icehouse never writes"
        raise SealError(msg) from exc
    _check(key, salt)
    return key


# What is in each column of a joined row. What stands beside a key is there as a whole or not at all.
_KEY = (int, int, int, int, str, int, int, int, int, int, int, int, int, bytes)
_MAY_BE_NOTHING = (bytes, type(None))
_REST = (int, bytes, int)
_NONE = type(None)
_CLAIMS = ((int, int, bytes), (_NONE,) * 3)
_OFFERS = ((int, int, bytes, bytes, bytes, int, bytes, int, bytes), (_NONE,) * 9)
_SHAPES = frozenset(
    (*_KEY, salt, offer_id, *_REST, *claim, *offer)
    for salt, offer_id, claim, offer in product(_MAY_BE_NOTHING, _MAY_BE_NOTHING, _CLAIMS, _OFFERS)
)


def _check_types(row: Sequence[Any]) -> None:
    """Raise `TypeError` for a value of another type than its column's: SQLite takes any."""
    if tuple(map(type, row)) not in _SHAPES:
        raise TypeError


def _shown(number: object) -> str:
    return str(number) if isinstance(number, int) else "without a number"


def _check(key: Key, salt: bytes | None) -> None:
    """Refuse a row that contradicts itself before anything compares its values."""
    beside = [] if key.claim is None else [(key.claim.data_key, MOST)]
    if key.offer is not None:
        offer = key.offer
        beside += [(offer.epoch, MAX_EPOCH), (offer.expires, LAST_SECOND), (offer.sealed.data_key, MOST)]
    # Written out: every message of every device comes by here.
    in_range = (
        0 <= key.id <= MOST
        and 0 <= key.rev <= _MOST_REVS
        and 0 <= key.epoch <= MAX_EPOCH
        and 0 <= key.next_epoch <= MAX_EPOCH
        and 0 <= key.due <= _LAST_DAY
        and 0 <= key.sealed.data_key <= MOST
        and 0 <= key.changed <= LAST_SECOND
        and all(0 <= number <= most for number, most in beside)
    )
    if not in_range or len(key.user.encode()) > MAX_NAME_BYTES:
        msg = f"the row of {key.user[:MAX_NAME_BYTES]!r} holds a number or a name that icehouse never writes"
        raise SealError(msg)
    if (key.state is State.DESTROYED) is not (key.sealed == _NOTHING and key.offer is None):
        msg = f"the row of {key.user!r} is {key.state}, which does not fit its records"
        raise SealError(msg)
    dealt = key.state is State.DEALT
    derived = key.sealed.data_key == NO_DATA_KEY  # a hierarchical row keeps nothing of the device's share
    if (salt is not None) is not dealt:
        msg = f"the row of {key.user!r} is {key.state}, which does not fit its code's salt"
        raise SealError(msg)
    if (key.claim is not None) is not (key.state in {State.DEALT, State.LOST} and not derived):
        msg = f"the row of {key.user!r} is {key.state}, which does not fit its claim record: one was removed or added"
        raise SealError(msg)


def _offer_of(row: Sequence[Any]) -> StandingOffer:
    _, epoch, commitments, offer_id, device_key, expires, payload, data_key, record = row
    return StandingOffer(epoch, commitments, offer_id, device_key, expires, payload, Sealed(data_key, record))
