"""What a cosigner's refusal means to whoever holds the device."""

from __future__ import annotations

from typing import Protocol

from icehouse.errors import ConflictError, RefusedError, RequestError, StaleEpochError

ASK_AGAIN = "ask the application for a new enrolment code"


class Holder(Protocol):
    """A device, as far as an explanation needs it."""

    @property
    def user(self) -> str:
        """Whose device it is."""

    @property
    def epoch(self) -> int:
        """The epoch it signs at; 0 before it is enrolled."""


class explained:  # noqa: N801  reads as a word in a with statement
    """Turns the cosigner's reasons into errors that say what to do."""

    def __init__(self, device: Holder) -> None:
        self._device = device

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RefusedError):
            explanation = _explanation(self._device, error)
            # An error that is its own cause would send whoever follows the chain round for ever.
            raise explanation from None if explanation is error else error


def _explanation(device: Holder, refusal: RefusedError) -> Exception:
    enrolled, reason = device.epoch > 0, refusal.reason
    if reason in {"unknown-epoch", "bad-mac"} and not enrolled:
        return RequestError("the enrolment code is wrong, used or void", hint=ASK_AGAIN)
    if reason == "unknown-epoch":
        return StaleEpochError(
            f"the vault does not know epoch {device.epoch} of {device.user!r}: this device file is an old copy, "
            "or the vault was rolled back",
            epoch=device.epoch,
            hint="use the newest copy of the device file; nothing was deleted",
        )
    if reason == "conflict":
        return ConflictError(
            "another request for this key is under way",
            hint="wait until its offer expires, or " + ASK_AGAIN if not enrolled else None,
        )
    if reason == "unknown-key":
        return RequestError("the vault does not know this key", hint="is this the right vault?")
    if reason == "reserved":
        return RequestError("messages that start like icehouse's own proofs are not signed")
    if reason == "unavailable":
        refusal.hint = "try again; if it stays so, the vault's own log says why"
    return refusal


__all__ = ["ASK_AGAIN", "explained"]
