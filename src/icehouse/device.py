"""A device: the user's side of every ceremony, against any cosigner.

Every step follows one shape: change the state, make it durable, only then send. The rules are DESIGN §3's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from icehouse._core import DeviceState, Passphrase
from icehouse.device_file import DEFAULT_WORK_FACTOR, DeviceFile, MemoryFile
from icehouse.errors import ConflictError, RefusedError, RequestError, StaleEpochError

if TYPE_CHECKING:
    from typing import NoReturn, Self

    from icehouse._core import Group

_GONE = {"unknown-epoch", "bad-mac", "not-the-offer", "bad-proof", "not-the-proof", "wrong-epoch"}
_ASK_AGAIN = "ask the application for a new enrolment code"


class Cosigner(Protocol):
    """The server side as a device sees it: one call."""

    def exchange(self, message: str) -> str:
        """One message, one answer."""


class Device:
    """What a user holds: a share, and what leads to the next one. Use `create` or `open`."""

    def __init__(self, state: DeviceState, file: DeviceFile | MemoryFile) -> None:
        self._state = state
        self._file = file
        self._unsaved = False

    @classmethod
    def create(
        cls,
        user: str,
        *,
        path: str | Path | None = None,
        passphrase: str | Passphrase | None = None,
        work_factor: int = DEFAULT_WORK_FACTOR,
    ) -> Self:
        """Make a device that holds nothing yet; with a path, in an encrypted file that must not exist."""
        state = DeviceState(user)
        if path is None:
            return cls(state, MemoryFile())
        if passphrase is None:
            msg = "a device file needs a passphrase"
            raise RequestError(msg)
        return cls(state, DeviceFile.create(Path(path), _secret(passphrase), work_factor, state))

    @classmethod
    def open(cls, path: str | Path, passphrase: str | Passphrase) -> Self:
        """Open a device's file; it is locked until `close`."""
        file, state = DeviceFile.open(Path(path), _secret(passphrase))
        return cls(state, file)

    def close(self) -> None:
        """Let others open the file; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Device({self.user!r}, epoch={self.epoch})"

    @property
    def user(self) -> str:
        """The user whose device this is."""
        return str(self._state.facts()["user"])

    @property
    def epoch(self) -> int:
        """The epoch the device signs at; 0 before it is enrolled."""
        return int(self._state.facts()["epoch"])

    @property
    def pending_epoch(self) -> int | None:
        """The epoch it was offered and has not resolved."""
        return self._state.facts()["pending"]

    @property
    def key_id(self) -> bytes | None:
        """The id of its key, once known."""
        return self._state.facts()["key"]

    @property
    def group(self) -> Group | None:
        """The public facts of its key at its epoch."""
        return self._state.group()

    @property
    def public_key(self) -> bytes | None:
        """The public key it signs under; None before it is enrolled."""
        group = self._state.group()
        return None if group is None else group.public_key

    # Ceremonies

    def enrol(self, cosigner: Cosigner, token: str | None = None) -> None:
        """Claim this user's key with an enrolment token, prove the share, and commit.

        Again after a crash it goes on where it stopped; the token is kept until the first commit. Raises
        `RequestError` for a void code, `ConflictError` while another device claims the key.
        """
        if self.epoch:
            msg = f"the device of {self.user!r} is enrolled already"
            raise RequestError(msg)
        if token is not None:
            self._state.take_token(token.strip())
            self._save()
        elif not self._state.facts()["token"]:
            msg = "a first enrolment needs an enrolment token"
            raise RequestError(msg, hint=_ASK_AGAIN)
        self._resolve(cosigner)
        if not self._state.facts()["epoch"]:
            self._obtain(cosigner)

    def rotate(self, cosigner: Cosigner) -> None:
        """Move to new shares of the same public key.

        Raises `StaleEpochError` where the vault knows no epoch of ours.
        """
        self._must_be_enrolled()
        self._resolve(cosigner)
        try:
            self._obtain(cosigner)
        except ConflictError:
            # An offer of ours whose key we lost, or one we refused, stands in the way: it is ours to abandon.
            self._clear_the_way(cosigner)
            self._obtain(cosigner)

    def sign(
        self, cosigner: Cosigner, message: bytes, *, taproot_root: str | None = None, check_due: bool = True
    ) -> bytes:
        """A signature on the message that verified under the public key. At most 1 MiB of message.

        First asks whether the application wants a rotation, and does it; `check_due=False` saves that round trip.

        `taproot_root`, for secp256k1-tr: None signs with the key as it is, "" with the BIP-341 tweak, 64 hex digits
        with that Merkle root. A lost answer is retried with fresh nonces: call again.
        """
        self._must_be_enrolled()
        self._resolve(cosigner)
        if check_due:
            self._do_what_is_due(cosigner)
        # The round is drawn anew on every call: a retry never reuses commitments.
        nonces, question = self._state.ask_signature(message, taproot_root)
        with _explained(self):
            return self._state.accept_signature(nonces, cosigner.exchange(question))

    def status(self, cosigner: Cosigner) -> tuple[bytes | None, bool]:
        """The id of the standing offer, if any, and whether a rotation is due. Nothing is changed."""
        with _explained(self):
            return self._state.read_status(cosigner.exchange(self._state.ask_status()))

    def resolve(self, cosigner: Cosigner) -> bool:
        """Bring a pending offer to its end, one way or the other; False where there is none."""
        return self._resolve(cosigner)

    # Steps

    def _save(self) -> None:
        # A write that failed is owed: nothing more is sent until what a step changed is durable.
        self._unsaved = True
        self._file.write(self._state)
        self._unsaved = False

    def _must_be_enrolled(self) -> None:
        if not self.epoch and self.pending_epoch is None:
            msg = f"the device of {self.user!r} is not enrolled"
            raise RequestError(msg, hint="enrol it with an enrolment token")

    def _do_what_is_due(self, cosigner: Cosigner) -> None:
        """Do a rotation that the application asked for."""
        _, due = self.status(cosigner)
        if due:
            self.rotate(cosigner)

    def _obtain(self, cosigner: Cosigner) -> None:
        if self._state.prepare():
            self._save()
        with _explained(self):
            self._state.accept_offer(cosigner.exchange(self._state.ask()))
        self._save()
        self._resolve(cosigner)
        if self.pending_epoch is not None or not self.epoch:
            msg = "the offer was withdrawn before it could be committed"
            raise ConflictError(msg, hint="repeat the command")

    def _resolve(self, cosigner: Cosigner) -> bool:
        if self._unsaved:
            self._save()
        if self.pending_epoch is None:
            return False
        try:
            if not self._state.facts()["proved"]:
                nonces, question = self._state.ask_proof()
                self._state.accept_proof(nonces, cosigner.exchange(question))
                self._save()
            self._state.accept_commit(cosigner.exchange(self._state.ask_commit()))
        except RefusedError as refusal:
            if refusal.reason not in _GONE:
                _explain(self, refusal)
            self._abandon(cosigner, None)
        self._save()
        return True

    def _abandon(self, cosigner: Cosigner, offer_id: bytes | None) -> None:
        try:
            answer = cosigner.exchange(self._state.ask_abandon(offer_id))
            self._state.accept_abandoned(offer_id, answer)
        except RefusedError as refusal:
            _explain(self, refusal)

    def _clear_the_way(self, cosigner: Cosigner) -> None:
        offer_id, _ = self.status(cosigner)
        if offer_id is not None:
            self._abandon(cosigner, offer_id)
            self._save()


def _secret(passphrase: str | Passphrase) -> Passphrase:
    return passphrase if isinstance(passphrase, Passphrase) else Passphrase(passphrase)


class _explained:  # noqa: N801  reads as a word in a with statement
    """Turns the cosigner's reasons into errors that say what to do."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RefusedError):
            _explain(self._device, error)


def _explain(device: Device, refusal: RefusedError) -> NoReturn:
    explanation = _explanation(device, refusal)
    # An error that is its own cause would send whoever follows the chain round for ever.
    raise explanation from None if explanation is refusal else refusal


def _explanation(device: Device, refusal: RefusedError) -> Exception:
    enrolled, reason = device.epoch > 0, refusal.reason
    if reason in {"unknown-epoch", "bad-mac"} and not enrolled:
        return RequestError("the enrolment code is wrong, used or void", hint=_ASK_AGAIN)
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
            hint="wait until its offer expires, or " + _ASK_AGAIN if not enrolled else None,
        )
    if reason == "unknown-key":
        return RequestError("the vault does not know this key", hint="is this the right vault?")
    if reason == "reserved":
        return RequestError("messages that start like icehouse's own proofs are not signed")
    if reason == "unavailable":
        refusal.hint = "try again; if it stays so, the vault's own log says why"
    return refusal


__all__ = ["Cosigner", "Device"]
