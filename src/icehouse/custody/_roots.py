"""Root keys by label, in whichever of the HSMs that this process was told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import HsmKey, KeyKind
from icehouse.model import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from icehouse.hsm import Hsm


class RootKeys:
    """The HSMs of a vault: `main`, where new root keys are made, `claim`, and those that are being left.

    A label names one key for ever, so it says nothing about the HSM that holds it: a vault may be moving. `again`
    reads the configuration anew, for when another process moved the vault to an HSM this one was not told of.
    """

    def __init__(
        self,
        main: Hsm,
        claim: Hsm,
        former: Sequence[Hsm] = (),
        again: Callable[[], RootKeys] | None = None,
    ) -> None:
        self.main = main
        self.claim = claim
        self.former = tuple(former)
        self._again = again
        self._found: dict[str, Hsm] = {}

    @property
    def hsms(self) -> list[Hsm]:
        """Every HSM once."""
        return list(dict.fromkeys((self.main, self.claim, *self.former)))

    def home(self, role: Role) -> Hsm:
        """Where a new root key of this role is made."""
        return self.claim if role is Role.CLAIM else self.main

    def made(self, label: str, hsm: Hsm) -> None:
        """Remember where a key was made."""
        self._found[label] = hsm

    def forget(self, label: str) -> None:
        """Forget where a key was: it was destroyed."""
        self._found.pop(label, None)

    def find(self, label: str, kind: KeyKind) -> tuple[Hsm, HsmKey]:
        """The HSM that holds a root key. Raises `HsmRefusedError` where none of those known does."""
        hsm = self._found.get(label) or self._search(label)
        if hsm is None and self._again is not None:
            fresh = self._again()
            self.main, self.claim, self.former = fresh.main, fresh.claim, fresh.former
            hsm = self._search(label)
        if hsm is None:
            msg = f"no HSM that this process was told of has the key {label!r}"
            raise HsmRefusedError(msg, hint="is this the HSM that the vault was made with, or moved to?")
        self._found[label] = hsm
        return hsm, HsmKey(label, kind)

    def candidates(self, label: str, kind: KeyKind) -> list[tuple[Hsm, HsmKey]]:
        """Where a user's own key may be, likeliest first: looking each up by name would cost more than trying."""
        found = self._found.get(label)
        return [(hsm, HsmKey(label, kind)) for hsm in ([found] if found else self.hsms)]

    def _search(self, label: str) -> Hsm | None:
        away: HsmUnavailableError | None = None
        for hsm in self.hsms:
            try:
                if any(key.label == label for key in hsm.keys(label)):
                    return hsm
            except HsmUnavailableError as exc:
                away = exc
        if away is not None:
            raise away
        return None

    def close(self) -> None:
        """Let go of every HSM."""
        for hsm in self.hsms:
            hsm.close()
