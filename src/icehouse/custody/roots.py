"""Root keys by label, in whichever of the HSMs that this process was told of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from icehouse.errors import HsmRefusedError, HsmUnavailableError, MissingExtraError, RequestError
from icehouse.hsm import AbsentHsm, HsmKey, KeyKind, labelled, sought
from icehouse.model import STAND_INS, USERS_OWN, Role, is_software
from icehouse.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from icehouse.hsm import Hsm

T = TypeVar("T")
_logger = logging.getLogger("icehouse")


class RootKeys:
    """The HSMs of a vault: `main`, where new root keys are made, `claim`, and those that are being left.

    A label names one key for ever, so it says nothing about the HSM that holds it: a vault may be moving. `again`
    reads the configuration anew, for when another process moved the vault to an HSM this one was not told of.
    `software` is the module that stands in for an HSM that is away, where the caller asked for one.

    `vouched` is false from when a vault was opened without its HSM until that has seen its settings.
    """

    def __init__(
        self,
        main: Hsm,
        claim: Hsm,
        former: Sequence[Hsm] = (),
        again: Callable[[], RootKeys] | None = None,
        software: Hsm | None = None,
    ) -> None:
        self.main = main
        self.claim = claim
        self.former = tuple(former)
        self.software = software
        self.vouched = True
        self._again = again
        self._unread = Watch(most=1)
        self._found: dict[str, Hsm] = {}
        self._behind: dict[Hsm, Hsm] = {}
        """What is reached through something else, by that."""

    @property
    def hsms(self) -> list[Hsm]:
        """Every HSM once."""
        stand_in = () if self.software is None else (self.software,)
        return list(dict.fromkeys((self.main, self.claim, *self.former, *stand_in)))

    @property
    def absent(self) -> list[AbsentHsm]:
        """The HSMs that could not be opened and did not come back, as far as is known."""
        return self._absent_of(self.hsms)

    def _absent_of(self, hsms: Sequence[Hsm]) -> list[AbsentHsm]:
        bare = (self._behind.get(hsm, hsm) for hsm in hsms)
        return [hsm for hsm in bare if isinstance(hsm, AbsentHsm) and hsm.absent]

    @property
    def away(self) -> bool:
        """Whether the HSM of new root keys is away: it is looked for. Raises `HsmRefusedError` where it refuses."""
        return not all(hsm.look() for hsm in self._absent_of((self.main, self.claim)))

    def check_vouched(self) -> None:
        """Raise `HsmUnavailableError` until the HSM that seals the vault's settings has seen them."""
        if not self.vouched:
            msg = "the HSM that vouches for the vault's settings is away, so nothing is done under an HSM"
            raise HsmUnavailableError(msg)

    def home(self, role: Role) -> Hsm:
        """Where a new root key of this role is made."""
        if role in STAND_INS.values():
            return self.stand_in
        return self.claim if role is Role.CLAIM else self.main

    @property
    def stand_in(self) -> Hsm:
        """The software module that stands in for an HSM that is away. Raises `HsmRefusedError` where there is none."""
        if self.software is None:
            msg = "no software module stands in for this vault's HSM"
            raise HsmRefusedError(msg)
        return self.software

    def made(self, label: str, hsm: Hsm) -> None:
        """Remember where a key was made."""
        self._found[label] = hsm

    def has(self, label: str) -> bool:
        """Whether one of the HSMs has this key now. Raises `HsmUnavailableError` where that is not to be known."""
        return self._search(label) is not None

    def learn(self, prefix: str) -> None:
        """Find all keys of a prefix at once: one listing of each HSM, however many they are."""
        for hsm in self.hsms:
            for key in hsm.keys(prefix):
                if hsm in self._where(key.label):
                    self._found.setdefault(key.label, hsm)

    def _where(self, label: str) -> list[Hsm]:
        """The HSMs in which a label may be: the stand-in's file never holds a key that the HSM is to vouch for."""
        return [hsm for hsm in self.hsms if is_software(label) or hsm is not self.software]

    def forget(self, label: str) -> None:
        """Forget where a key was: it was destroyed."""
        self._found.pop(label, None)

    def find(self, label: str, kind: KeyKind) -> tuple[Hsm, HsmKey]:
        """The HSM that holds a root key. Raises `HsmRefusedError` where none of those known does."""
        hsm = self._found.get(label) or self._looked_for(label)
        if hsm is None:
            for each in self._where(label):
                sought(each, label)  # one that can still be brought back is told of by its state
            msg = f"no HSM that this process was told of has the key {label!r}"
            raise HsmRefusedError(msg, hint="is this the HSM that the vault was made with, or moved to?")
        self._found[label] = hsm
        return hsm, HsmKey(label, kind)

    def use(self, label: str, kind: KeyKind, work: Callable[[Hsm, HsmKey], T]) -> T:
        """Use a root key where it is. Users' own keys are tried, not looked up: listing thousands would cost more."""
        if not label.startswith(USERS_OWN) or label in self._found:
            return work(*self.find(label, kind))
        try:
            return self._tried(label, kind, work)
        except (HsmRefusedError, HsmUnavailableError):
            if not self._told_anew():
                raise
            return self._tried(label, kind, work)

    def _tried(self, label: str, kind: KeyKind, work: Callable[[Hsm, HsmKey], T]) -> T:
        refusal: HsmRefusedError | None = None
        away: HsmUnavailableError | None = None
        for hsm in self._where(label):
            try:
                done = work(hsm, HsmKey(label, kind))
            except HsmRefusedError as exc:
                refusal = refusal or exc
            except HsmUnavailableError as exc:
                away = exc
            else:
                self._found[label] = hsm
                return done
        raise away or refusal or HsmRefusedError

    def through(self, wrap: Callable[[Hsm], Hsm]) -> None:
        """Reach every HSM, and those told of later, through what `wrap` makes of it: the same for the same one."""
        again = self._again
        self._behind.update({wrap(hsm): hsm for hsm in (self.main, self.claim, *self.former) if wrap(hsm) is not hsm})
        self.main, self.claim, self.former = wrap(self.main), wrap(self.claim), tuple(map(wrap, self.former))
        self._found = {label: wrap(hsm) for label, hsm in self._found.items()}
        if again is not None:

            def wrapped() -> RootKeys:
                fresh = again()
                fresh.through(wrap)
                return fresh

            self._again = wrapped

    def _told_anew(self) -> bool:
        """Read the configuration anew; whether it names other HSMs than before.

        One that is wrong by now is nothing to a device that asks: what this process was told before stands.
        """
        if self._again is None:
            return False
        try:
            fresh, known = self._again(), self.hsms
        except (RequestError, MissingExtraError) as exc:
            held = self._unread.admit(str(exc))  # anybody who names a key under a root key that is missing gets here
            if held is not None:
                _logger.error("the vault's configuration was to be read anew, and cannot be: %s%s", exc, held)  # noqa: TRY400
            return False
        self.main, self.claim, self.former, self.software = fresh.main, fresh.claim, fresh.former, fresh.software
        self._behind.update(fresh._behind)  # noqa: SLF001  another of this class
        return self.hsms != known

    def _looked_for(self, label: str) -> Hsm | None:
        """The HSM that has this key: of those known, then of those that the configuration names now.

        One that is away may be one that the vault has left.
        """
        try:
            found = self._search(label)
        except HsmUnavailableError:
            if not self._told_anew():
                raise
        else:
            if found is not None or not self._told_anew():
                return found
        return self._search(label)

    def _search(self, label: str) -> Hsm | None:
        away: HsmUnavailableError | None = None
        for hsm in self._where(label):
            try:
                if self.holds(hsm, label):
                    return hsm
            except HsmUnavailableError as exc:
                away = exc
        if away is not None:
            raise away
        return None

    @staticmethod
    def holds(hsm: Hsm, label: str) -> bool:
        """Whether an HSM has the key of exactly this label. One HSM operation."""
        return labelled(hsm, label) is not None

    def close(self) -> None:
        """Let go of every HSM, and look for no other."""
        self._again = None
        for hsm in self.hsms:
            hsm.close()
