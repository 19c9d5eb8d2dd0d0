"""Evidence: what the HSM opened just now, and what follows from that and not from the database's word."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from icehouse._core import key_id
from icehouse.errors import SealError
from icehouse.model import NO_DATA_KEY, STAND_INS, SUITES, Key, Purpose, Role, State, is_software
from icehouse.users import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icehouse.model import RootKey, Sealed
    from icehouse.vault.vault import Vault


Rank: TypeAlias = tuple[bool, int]
"""Whether a root key is the HSM's and not a stand-in's, and its version: what has a lower rank was superseded."""
_GENERATIONS = 1000
"""So many of a user's earlier generations speak for their HSM keys; older ones are kept, for nobody speaks for them."""
_LONGEST_VERSION = 10
OUTLIVED: Rank = (True, 1 << 63)
"""Above every key: whatever there is was superseded."""


def rank_of(root: RootKey) -> Rank:
    """The rank of a root key among those that take over from each other."""
    return root.role not in STAND_INS.values(), root.version


class Spoken(NamedTuple):
    """Whose own keys those of a key id are, and the rank of the one under which the user's record is."""

    whose: str
    rank: Rank


@dataclass(slots=True)
class Evidence:
    """What is known of a vault's records.

    `labels` are the root keys under which one opened. `speaking` says whose own key a key id is, of a direct vault's
    users whose record opened; `removed`, of those whom the database calls removed.
    """

    labels: set[str] = field(default_factory=set)
    speaking: dict[str, Spoken] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    opened: int = 0
    unopened: int = 0


def gather(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> Evidence:
    """Open every record of the vault anew, and note under which root keys they are.

    What was opened before counts for nothing: the database may have been changed since. Raises `HsmRefusedError` where
    the HSM refuses a key that a record is under.
    """
    vault.refresh()
    vault.custody.roots.check_vouched()
    vault.custody.forget()
    gathering = _Gathering(vault)
    for examined in verify.examine(vault, vault.store.readings()):
        gathering.add(examined)
        advance(1)
    return gathering.evidence


def believe(vault: Vault) -> Evidence:
    """The same on the database's word alone: good enough to tell what may be asked for, and nothing more."""
    gathering = _Gathering(vault)
    if vault.custody.users_own:
        for reading in vault.store.readings():
            if isinstance(reading, Key):
                gathering.believe(reading)
    return gathering.evidence


class _Gathering:
    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._under: dict[int, str] = {}
        self.evidence = Evidence()

    def add(self, examined: Key | Exception) -> None:
        """One row whose records were all opened, or what does not fit."""
        if not isinstance(examined, Key):
            self.evidence.unopened += 1
            return
        try:
            labels = {self._label(sealed, purpose) for sealed, purpose in _records(examined)}
        except SealError:
            self.evidence.unopened += 1  # moved, or changed, since it was opened: it says nothing this time
            return
        self.evidence.labels |= labels
        self.evidence.opened += bool(labels)
        if self._vault.custody.users_own:
            self._name(examined, self._under.get(examined.sealed.data_key, ""))

    def _label(self, sealed: Sealed, purpose: Purpose) -> str:
        number = sealed.data_key
        if number not in self._under:
            self._under[number] = self._master() if number == NO_DATA_KEY else self._opened_under(number, purpose)
        return self._under[number]

    def _master(self) -> str:
        record = self._vault.store.record
        root = record.current(Role.MASTER) or record.newest(Role.MASTER)
        return "" if root is None else root.label

    def _opened_under(self, number: int, purpose: Purpose) -> str:
        return self._vault.custody.open_number(number, purpose).wrapped.root_key

    def believe(self, key: Key) -> None:
        """What a row and its data key's row say, which nobody opened."""
        with suppress(SealError):
            removed = key.state is State.DESTROYED
            self._name(key, "" if removed else self._vault.store.wrapped_key(key.sealed.data_key).root_key)

    def _name(self, key: Key, under: str) -> None:
        """Whose own keys a row's key ids are: the row's, and those of the generations before it."""
        if key.state is State.DESTROYED:
            self.evidence.removed[key.key_id.hex()] = key.user
            return
        version = under.rpartition("-")[2]
        if not (version.isascii() and version.isdigit() and len(version) < _LONGEST_VERSION):
            msg = f"{under!r} is no label of a root key of {key.user!r}"
            raise SealError(msg)
        rank = (not is_software(under), int(version))
        self.evidence.speaking[key.key_id.hex()] = Spoken(f"of {key.user!r}", rank)
        for generation in range(max(0, key.generation - _GENERATIONS), key.generation):
            for suite in SUITES:
                earlier = key_id(key.vault, key.user, suite, generation).hex()
                whose = f"of {key.user!r} before the present key (generation {generation})"
                self.evidence.speaking[earlier] = Spoken(whose, OUTLIVED)


def _records(key: Key) -> Iterator[tuple[Sealed, Purpose]]:
    if key.state is State.DESTROYED:
        return
    yield key.sealed, Purpose.SERVER
    if key.claim is not None:
        yield key.claim, Purpose.CLAIM
    if key.offer is not None:
        yield key.offer.sealed, Purpose.SERVER


__all__ = ["OUTLIVED", "Evidence", "Rank", "Spoken", "believe", "gather", "rank_of"]
