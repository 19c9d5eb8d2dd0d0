"""A device: the user's side of every ceremony, against any cosigner.

Every step follows one shape: change the state, make it durable, only then send. The rules are DESIGN §3's.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from threading import RLock
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from icehouse import arguments
from icehouse._core import DeviceState, Passphrase
from icehouse.device.file import DEFAULT_WORK_FACTOR, DeviceFile, MemoryFile
from icehouse.device.refusals import ASK_AGAIN, explained
from icehouse.errors import ConflictError, IcehouseError, RefusedError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

    from icehouse._core import Group

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")
_GONE = {"unknown-epoch", "bad-mac", "not-the-offer", "bad-proof", "not-the-proof", "wrong-epoch"}


class Cosigner(Protocol):
    """The server side as a device sees it: one call."""

    def exchange(self, message: str) -> str:
        """One message, one answer."""


def _one_at_a_time(
    ceremony: Callable[Concatenate[Device, _Arguments], _Result],
) -> Callable[Concatenate[Device, _Arguments], _Result]:
    """Let a ceremony wait for the one that another thread is at: each moves the device's one state and its one file."""

    @wraps(ceremony)
    def alone(device: Device, /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        with device._turn:  # noqa: SLF001  this is the device's own
            return ceremony(device, *arguments, **named)

    return alone


class Device:
    """What a user holds: a share, and what leads to the next one. Use `create` or `open`.

    Threads may share one: its ceremonies come one after another.
    """

    def __init__(self, state: DeviceState, file: DeviceFile | MemoryFile) -> None:
        self._state = state
        self._file = file
        self._unsaved = False
        self._turn = RLock()  # a signature may do a rotation first
        self._closed = False

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
        state = DeviceState(arguments.text(user, "user"))
        arguments.number(work_factor, "work_factor")
        secret = None if passphrase is None else _secret(passphrase)
        if path is None:
            return cls(state, MemoryFile())
        file = arguments.place(path, "path")
        if secret is None:
            msg = "a device file needs a passphrase"
            raise RequestError(msg)
        return cls(state, DeviceFile.create(file, secret, work_factor, state))

    @classmethod
    def open(cls, path: str | Path, passphrase: str | Passphrase) -> Self:
        """Open a device's file, wherever links lead to it; it is locked until `close`.

        In a directory that may not be written it opens, too, and signs for as long as no rotation is due.
        """
        file, state = DeviceFile.open(arguments.place(path, "path"), _secret(passphrase))
        return cls(state, file)

    @_one_at_a_time
    def close(self) -> None:
        """Let others open the file, after the ceremony that another thread is at; a second call does nothing.

        The device does nothing any more.
        """
        self._closed = True
        self._file.close()

    def __enter__(self) -> Self:
        self._check_open()
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

    @property
    def has_token(self) -> bool:
        """Whether it keeps an enrolment token, as it does until its first commit."""
        return self._state.facts()["token"]

    # Ceremonies

    @classmethod
    def check_token(cls, cosigner: Cosigner, user: str, token: str) -> None:
        """Ask whether an enrolment token is in force, before anything is made for it.

        Raises `RequestError` where its code is wrong, used or void. Changes nothing on either side.
        """
        state = DeviceState(arguments.text(user, "user"))
        state.take_token(arguments.text(token, "token").strip())
        cls(state, MemoryFile()).status(cosigner)

    @_one_at_a_time
    def enrol(self, cosigner: Cosigner, token: str | None = None) -> None:
        """Claim this user's key with an enrolment token, prove the share, and commit.

        Again after a crash it goes on where it stopped; the token is kept until the first commit. A device whose epoch
        the vault does not know any more goes on from a token that the application made for it. Raises `RequestError`
        for a void code, `ConflictError` while another device claims the key.
        """
        self._check(cosigner)
        again = self.epoch > 0
        if again and token is None and not self.has_token:
            msg = f"the device of {self.user!r} is enrolled already"
            raise RequestError(msg)
        if token is not None:
            with self._durably():
                self._state.take_token(arguments.text(token, "token").strip())
        elif not self.has_token:
            msg = "a first enrolment needs an enrolment token"
            raise RequestError(msg, hint=ASK_AGAIN)
        self._state.reclaim(again)
        try:
            with explained(self):
                self._resolve(cosigner)
                if self.has_token:  # the first commit under it drops the token
                    self._obtain(cosigner)
        finally:
            self._state.reclaim(by_code=False)

    @_one_at_a_time
    def rotate(self, cosigner: Cosigner) -> None:
        """Move to new shares of the same public key.

        Raises `StaleEpochError` where the vault knows no epoch of ours.
        """
        self._must_be_enrolled()
        with explained(self):
            self._resolve(cosigner)
            try:
                self._obtain(cosigner)
            except RefusedError as refusal:
                if refusal.reason != "conflict" or not refusal.authenticated:
                    raise
                # An offer of ours whose key we lost stands in the way: it is ours to abandon.
                self._clear_the_way(cosigner)
                self._obtain(cosigner)

    @_one_at_a_time
    def sign(
        self, cosigner: Cosigner, message: bytes, *, taproot_root: str | None = None, check_due: bool = True
    ) -> bytes:
        """A signature on the message that verified under the public key. At most 1 MiB of message.

        First asks whether the application wants a rotation, and does it; `check_due=False` saves that round trip.

        `taproot_root`, for secp256k1-tr: None signs with the key as it is, "" with the BIP-341 tweak, 64 hex digits
        with that Merkle root. A lost answer is retried with fresh nonces: call again.
        """
        self._must_be_enrolled()
        message = arguments.octets(message, "a message to sign")
        if taproot_root is not None:
            arguments.text(taproot_root, "taproot_root")
        with explained(self):
            self._resolve(cosigner)
            if arguments.flag(check_due, "check_due"):
                self._do_what_is_due(cosigner)
            # The round is drawn anew on every call: a retry never reuses commitments.
            nonces, question = self._state.ask_signature(message, taproot_root)
            return self._state.accept_signature(nonces, self._send(cosigner, question))

    @_one_at_a_time
    def status(self, cosigner: Cosigner) -> tuple[bytes | None, bool]:
        """The id of the standing offer, if any, and whether a rotation is due. Nothing is changed."""
        with explained(self):
            return self._state.read_status(self._send(cosigner, self._state.ask_status()))

    @_one_at_a_time
    def resolve(self, cosigner: Cosigner) -> bool:
        """Bring a pending offer to its end, one way or the other; False where there is none."""
        with explained(self):
            return self._resolve(cosigner)

    # Steps

    @contextmanager
    def _durably(self) -> Iterator[None]:
        """Make what a step changes durable; where it, or the write, fails, the device is as it was or owes a write."""
        self._check_open()
        self._file.check()
        owed, self._unsaved = self._unsaved, True
        try:
            yield
        except IcehouseError:
            self._unsaved = owed  # a step that fails changes nothing
            raise
        self._pay()

    def _pay(self) -> None:
        if self._unsaved:
            self._file.write(self._state)
            self._unsaved = False

    def _send(self, cosigner: Cosigner, message: str) -> str:
        """Nothing is sent while a write is owed: the file never lacks what a message relies on."""
        self._check(cosigner)
        self._file.check_open()
        self._pay()
        return arguments.text(cosigner.exchange(message), "the cosigner's answer")

    def _check(self, cosigner: Cosigner) -> None:
        self._check_open()
        if not callable(getattr(cosigner, "exchange", None)):
            msg = f"a cosigner has a method exchange, and the type {type(cosigner).__name__} has none"
            raise RequestError(msg, hint="give a FrostService, or what reaches one")

    def _check_open(self) -> None:
        if self._closed:
            msg = f"the device of {self.user!r} was closed"
            raise RequestError(msg, hint="open it again")

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
        before = self.epoch
        if not self._state.facts()["requesting"]:
            with self._durably():
                self._state.prepare()
        answer = self._send(cosigner, self._state.ask())
        with self._durably():
            self._state.accept_offer(answer)
        self._resolve(cosigner)
        if self.epoch == before:
            msg = "the offer was withdrawn before it could be committed"
            raise ConflictError(msg, hint="repeat the command")

    def _resolve(self, cosigner: Cosigner) -> bool:
        self._check(cosigner)
        self._pay()
        if self.pending_epoch is None:
            return False
        try:
            question = self._state.ask_commit() if self._proved(cosigner) else self._state.ask_committed()
            answer = self._send(cosigner, question)
            with self._durably():
                self._state.accept_commit(answer)
        except RefusedError as refusal:
            if refusal.reason not in _GONE:
                raise
            self._abandon(cosigner, None)
        return True

    def _proved(self, cosigner: Cosigner) -> bool:
        """Make the pending offer's proof; False where it is committed already, by another copy of this device."""
        if self._state.facts()["proved"]:
            return True
        nonces, question = self._state.ask_proof()
        answer = self._send(cosigner, question)
        try:
            with self._durably():
                self._state.accept_proof(nonces, answer)
        except RefusedError as refusal:
            # Under the channel key of the offered epoch this says that the epoch is current.
            if refusal.reason != "wrong-epoch" or not refusal.authenticated:
                raise
            return False
        return True

    def _abandon(self, cosigner: Cosigner, offer_id: bytes | None) -> None:
        answer = self._send(cosigner, self._state.ask_abandon(offer_id))
        with self._durably():
            self._state.accept_abandoned(offer_id, answer)

    def _clear_the_way(self, cosigner: Cosigner) -> None:
        offer_id, _ = self.status(cosigner)
        if offer_id is not None:
            self._abandon(cosigner, offer_id)


def _secret(passphrase: str | Passphrase) -> Passphrase:
    return passphrase if isinstance(passphrase, Passphrase) else Passphrase(arguments.text(passphrase, "a passphrase"))


__all__ = ["Cosigner", "Device"]
