"""What one change does again when another process came first."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from icehouse.errors import ConflictError, HsmRefusedError, HsmUnavailableError, SealError, StoreError
from icehouse.model import StaleRootsError
from icehouse.store import DataKeyFullError, DataKeyGoneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.model import Key
    from icehouse.vault.vault import Vault

T = TypeVar("T")
_ATTEMPTS = 16
_REFRESHES = 2


class OvertakenError(StoreError):
    """Other writers came first, too often."""


class DifferentKeyError(ConflictError):
    """The user has a key of another kind already; to load it again would change nothing."""


def retry(vault: Vault, change: Callable[[], T]) -> T:
    """Do a load-check-act-write again when another writer came first, or a data key filled up meanwhile.

    Where another process moved the vault to other root keys, its settings are read again first.
    """
    mending = _Mending(vault)
    last: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            return change()
        except DifferentKeyError:
            raise
        except (StaleRootsError, DataKeyGoneError, HsmRefusedError, HsmUnavailableError) as exc:
            mending.mend(exc)
            last = exc
        except (ConflictError, DataKeyFullError) as exc:
            last = exc
    msg = f"other writers came first {_ATTEMPTS} times; try again later ({last})"
    raise OvertakenError(msg)


class _Mending:
    """What one change met that another process may have caused; what nobody caused is raised again."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._refreshes = 0
        self._met: set[type[Exception]] = set()

    def mend(self, met: Exception) -> None:
        """Read anew what may have changed."""
        if isinstance(met, StaleRootsError):
            self._stale(met)
        elif isinstance(met, HsmUnavailableError):
            # The HSM that this process knew may have been switched off since the vault moved to another one.
            if not self._vault.follow():
                raise met
        elif type(met) in self._met:
            raise met  # the row read anew names the same data key; the settings read anew, the same root key
        elif isinstance(met, HsmRefusedError):
            # The root key that this process knew may have been destroyed since another one took over from it.
            self._vault.refresh()
        self._met.add(type(met))

    def _stale(self, met: StaleRootsError) -> None:
        known = self._vault.store.record
        self._vault.refresh()
        # Settings that changed explain it, however often; the same ones only where a thread read them meanwhile.
        self._refreshes += self._vault.store.record == known
        if self._refreshes > _REFRESHES:
            msg = "a row was written for another custody than the vault's settings name"
            raise SealError(msg) from met


def work_on(vault: Vault, key: Key, work: Callable[[Key], object]) -> None:
    """Work on a row; where another process moved it since it was read, on the row as it is now."""
    rows = iter([key])
    retry(vault, lambda: work(next(rows, None) or vault.store.key_of(key.user) or key))
