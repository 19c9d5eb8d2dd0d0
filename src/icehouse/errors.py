"""Every error icehouse raises: one class per decision a caller can take.

IcehouseError
├─ RequestError            the caller can mend it: unknown user, bad name, wrong code
│  ├─ ConflictError        someone else changed it first; load again
│  ├─ StaleEpochError      .epoch, .vault_epoch: the vault or the device was rolled back
│  └─ RefusedError         .reason, .authenticated: the cosigner said no to a device
├─ ProtocolError           .culprits: a participant's message does not fit
├─ SealError               stored bytes do not open in this context: changed, moved or foreign
├─ HsmError
│  ├─ HsmUnavailableError  worth retrying
│  └─ HsmRefusedError      not worth retrying: permission, capacity, mechanism
├─ StoreError              the database failed or vanished
└─ MissingExtraError       .extra
"""

from __future__ import annotations


class IcehouseError(Exception):
    """Something icehouse was asked to do cannot be done.

    The first docstring line of each class is its default message. `hint` says what to do about it,
    where something can be done.
    """

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])
        self.hint = hint


class RequestError(IcehouseError):
    """The request cannot be served as it stands."""


class ConflictError(RequestError):
    """Someone else changed it first; load it again."""


class StaleEpochError(RequestError):
    """The vault and the device do not know each other's epoch: one of them was rolled back."""

    def __init__(
        self,
        message: str | None = None,
        *,
        epoch: int | None = None,
        vault_epoch: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.epoch = epoch
        self.vault_epoch = vault_epoch


class RefusedError(RequestError):
    """The cosigner refused."""

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str = "malformed",
        authenticated: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.authenticated = authenticated


class ProtocolError(IcehouseError):
    """A participant's message does not fit the protocol."""

    def __init__(self, message: str | None = None, *, culprits: tuple[int, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.culprits = culprits


class SealError(IcehouseError):
    """Stored bytes do not open in this context: they were changed, moved, or are foreign."""


class HsmError(IcehouseError):
    """The HSM did not do what it was asked."""


class HsmUnavailableError(HsmError):
    """The HSM cannot be reached just now; the same call may succeed later."""


class HsmRefusedError(HsmError):
    """The HSM refused; the same call will be refused again."""


class StoreError(IcehouseError):
    """The database failed or vanished."""


class MissingExtraError(IcehouseError):
    """An optional part of icehouse is not installed."""

    def __init__(self, extra: str, message: str | None = None) -> None:
        super().__init__(
            message or f"this needs the optional part '{extra}'",
            hint=f"pip install 'icehouse[{extra}]'",
        )
        self.extra = extra


class FallbackWarning(UserWarning):
    """The HSM cannot be opened, and new keys are made in software, as the caller asked for in that case."""
