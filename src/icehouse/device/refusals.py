"""What a cosigner's refusal means to whoever holds the device."""

from __future__ import annotations

from typing import Protocol

from icehouse.errors import ConflictError, RefusedError, RequestError, StaleEpochError

ASK_AGAIN = "ask the application for a new enrolment code"
_WORDS: dict[str, tuple[str, str | None]] = {
    "unknown-key": ("the vault does not know this key", "is this the right vault?"),
    "reserved": ("messages that start like icehouse's own proofs are not signed", None),
}


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
    if refusal.reason in {"unknown-epoch", "bad-mac"}:
        return _unknown(device, refusal.reason)
    if refusal.reason == "conflict":
        return ConflictError(
            "another request for this key is under way",
            hint="wait until its offer expires, or " + ASK_AGAIN if device.epoch == 0 else None,
        )
    if refusal.reason == "unavailable":
        refusal.hint = "try again; if it stays so, the vault's own log says why"
        return refusal
    if refusal.reason == "suspended":
        words = f"the key of {device.user!r} is suspended: the vault refuses every call until it is resumed"
        hint = "ask whoever runs the vault; 'icehouse users resume USER' lets it serve again, and nothing was lost"
        return RefusedError(words, reason=refusal.reason, authenticated=refusal.authenticated, hint=hint)
    known = _WORDS.get(refusal.reason)
    return refusal if known is None else RequestError(known[0], hint=known[1])


def _unknown(device: Holder, reason: str) -> Exception:
    """The vault has no key for the epoch that was named, or another one."""
    if device.epoch == 0:
        return RequestError("the enrolment code is wrong, used or void", hint=ASK_AGAIN)
    if reason == "unknown-epoch":
        return StaleEpochError(
            f"the vault does not know epoch {device.epoch} of {device.user!r}: this device file is an old copy, "
            "or the vault was rolled back",
            epoch=device.epoch,
            hint="use the newest copy of the device file; nothing was deleted",
        )
    return StaleEpochError(
        f"the vault's share of epoch {device.epoch} of {device.user!r} is not the one this device was dealt with: "
        "an older state of the vault, or of this device file, was put back and went on from there",
        epoch=device.epoch,
        hint="use the newest copy of the device file; if this is it, whoever runs the vault must put back a newer "
        "state of its database; nothing was deleted",
    )


__all__ = ["ASK_AGAIN", "explained"]
