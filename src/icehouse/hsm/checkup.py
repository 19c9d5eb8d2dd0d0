"""A check of an HSM from end to end: what works, what does not, and which role or setting mends it. Makes no key."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, runtime_checkable

from icehouse._core import DataKey, same_secret
from icehouse.errors import (
    HsmError,
    HsmRefusedError,
    HsmUnavailableError,
    IcehouseError,
    MissingExtraError,
    RequestError,
    SealError,
)
from icehouse.hsm import GoneError, KeyKind, PartlyListedError, TellsLeftovers, labelled, open_hsm, sought
from icehouse.hsm.key_service.ecdsa import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from icehouse.hsm import Hsm, HsmKey

    class Timed(Protocol):
        """Does something, and remembers how long it took."""

        def __call__(self, work: Callable[[], T]) -> T:
            """What it came to."""


T = TypeVar("T")
_PREFIX = "icehouse-"
_NOBODY = "icehouse-nobody"
"""A label that no key has: looking for it costs one call, whatever there is."""
_LISTINGS = 5
_MOST_APART = 60.0
"""Seconds between two clocks: more, and signed requests and short-lived credentials begin to be refused."""
_SET_CLOCK = "set this machine's clock, and keep it set: timedatectl set-ntp true"
KINDS_OF: dict[str, tuple[KeyKind, ...]] = {
    "direct": (KeyKind.AES,),
    "hybrid": (KeyKind.AES,),
    "hierarchical": (KeyKind.HMAC,),
}
"""The kinds of root keys that each custody needs; a test holds it to the custodies' own roles."""
_STEPS = ("settings", "client", "reach", "credentials")
"""What opening an HSM takes, in the order in which it can fail."""
_FAILED_AT: dict[type[IcehouseError], str] = {
    MissingExtraError: "client",
    HsmUnavailableError: "reach",
    HsmRefusedError: "credentials",
    RequestError: "settings",
}


class Check(NamedTuple):
    """One thing that was looked at. `ok` is None where it could not be told, or where there is no right or wrong."""

    hsm: str
    check: str
    ok: bool | None
    detail: str
    mend: str = ""


@runtime_checkable
class TellsTime(Protocol):
    """An `Hsm` whose service says in its answers what time it is there."""

    def clock(self) -> datetime | None:
        """The service's time, as its last answer told it."""


@runtime_checkable
class TellsAttributes(Protocol):
    """An `Hsm` that tells the attributes on which trust in a key rests."""

    def attributes(self, label: str) -> dict[str, bool]:
        """The attributes by their names."""


@runtime_checkable
class TellsMechanisms(Protocol):
    """An `Hsm` that lists what it can do."""

    def missing_mechanisms(self) -> dict[KeyKind, tuple[str, ...]]:
        """The mechanisms that are not in its list, by the kinds of key that need them."""

    def remedy(self) -> str:
        """What to do about one that is missing."""


class Checkup:
    """The check of one HSM, called `name` in what it finds. `there`: the labels of icehouse's keys that it holds."""

    def __init__(self, name: str, uri: str, keys: Sequence[HsmKey] = ()) -> None:
        self.name = name
        self.checks: list[Check] = []
        self.there: frozenset[str] = frozenset()
        self.gone: set[str] = set()
        """The labels of keys that are about to be destroyed in it."""
        self.opened = False
        self._seconds: list[float] = []
        try:
            hsm = open_hsm(uri)
        except (HsmError, RequestError, MissingExtraError) as exc:
            self._not_opened(exc)
            return
        try:
            self._examine(hsm, keys)
        finally:
            hsm.close()

    def _add(self, check: str, ok: bool | None, detail: str, mend: str | None = "") -> None:  # noqa: FBT001  a column
        self.checks.append(Check(self.name, check, ok, detail, mend or ""))

    def _not_opened(self, exc: IcehouseError) -> None:
        """Which step failed, and that those after it are not known."""
        failed = next(step for kind, step in _FAILED_AT.items() if isinstance(exc, kind))
        for step in _STEPS[: _STEPS.index(failed)]:
            self._add(step, ok=True, detail="")
        self._add(failed, ok=False, detail=str(exc), mend=exc.hint)
        for step in _STEPS[_STEPS.index(failed) + 1 :]:
            self._add(step, ok=None, detail="could not be checked")

    def _examine(self, hsm: Hsm, keys: Sequence[HsmKey]) -> None:
        cut: HsmError | None = None
        try:
            # Some providers say only at the first question that nobody is there, or that nobody may ask.
            found = self._timed(lambda: hsm.keys(_PREFIX))
        except PartlyListedError as exc:
            # What the service would not tell before its quota was spent, it tells by and by.
            found, cut = exc.keys, exc
        except HsmError as exc:
            self._not_opened(exc)
            if isinstance(exc, HsmRefusedError):
                self._rights(hsm)
            return
        for step in _STEPS:
            self._add(step, ok=True, detail="")
        self.opened, self.there = True, frozenset(key.label for key in found)
        if cut:
            self._add("keys", ok=False, detail=str(cut), mend=cut.hint)
        self._say_what_it_is(hsm)
        self._custodies(hsm)
        self._rights(hsm)
        self._leftovers(hsm)
        self._look_for(hsm, keys if cut else ())
        self._keys(hsm, keys)
        if not self.there & {key.label for key in keys}:
            self._add("known answers", ok=None, detail="there is no root key to try: none is made here")
            with self._failing("latency"):
                for _ in range(_LISTINGS - 1):
                    self._timed(lambda: labelled(hsm, _NOBODY))
        self._clock(hsm)
        if self._seconds:
            milliseconds = 1000 * median(self._seconds)
            self._add("latency", ok=True, detail=f"median {milliseconds:.1f} ms of {len(self._seconds)} operations")

    def _say_what_it_is(self, hsm: Hsm) -> None:
        info = hsm.info
        said = "says that keys live in hardware" if info.attested else "does not say that keys live in hardware"
        self._add("model", ok=True if info.attested else None, detail=f"{info.provider}: {info.model}; {said}")
        if info.capacity is not None:
            count = len(hsm.keys(""))
            full = count >= info.capacity
            # Full is no fault as long as no more is asked for: whoever makes a key is told then.
            room = "no room for another" if full else f"room for {info.capacity - count} more"
            self._add("capacity", ok=None if full else True, detail=f"{count} of {info.capacity} keys, {room}")

    def _custodies(self, hsm: Hsm) -> None:
        """Which custody the module's mechanisms can serve. It is at fault only where they serve none."""
        if not isinstance(hsm, TellsMechanisms):
            return
        missing = hsm.missing_mechanisms()
        lacks = {custody: [name for kind in kinds for name in missing[kind]] for custody, kinds in KINDS_OF.items()}
        useless = all(lacks.values())
        for custody, names in lacks.items():
            detail = f"cannot be served: the module has no {', '.join(names)}" if names else "can be served"
            ok = True if not names else False if useless else None
            self._add(f"custody {custody}", ok, detail, hsm.remedy() if names else "")

    def _rights(self, hsm: Hsm) -> None:
        with self._failing("rights"):
            for right in hsm.rights():
                told = {True: "granted", False: "NOT granted", None: "only doing it would tell"}[right.granted]
                self._add(f"right {right.action}", right.granted, told, "" if right.granted else right.mend)

    def _look_for(self, hsm: Hsm, keys: Sequence[HsmKey]) -> None:
        """Look for keys one by one, where the list of all broke off."""
        with self._failing("keys"):
            self.there |= {key.label for key in keys if labelled(hsm, key.label)}

    def _keys(self, hsm: Hsm, keys: Sequence[HsmKey]) -> None:
        for key in keys:
            (self._key if key.label in self.there else self._missing)(hsm, key)

    def _missing(self, hsm: Hsm, key: HsmKey) -> None:
        """Another HSM may have it; that it can still be brought back here is told here."""
        try:
            sought(hsm, key.label)
        except GoneError as exc:
            self.gone.add(key.label)
            self._add(f"key {key.label}", ok=False, detail=str(exc), mend=exc.hint)
        except HsmError:
            pass  # what goes wrong with every call is told already

    def _leftovers(self, hsm: Hsm) -> None:
        """Keys that icehouse made and that have no label: nothing else lists them, and somebody pays for them."""
        if not isinstance(hsm, TellsLeftovers):
            return
        with self._failing("keys without a label"):
            try:
                for left in hsm.leftovers():
                    made = f", made {left.made:%Y-%m-%d %H:%M} UTC" if left.made else ""
                    told = f"{left.name}, made for the label {left.label}{made}: {left.mend}"
                    self._add("key without a label", ok=None, detail=told, mend=left.mend)
            except HsmRefusedError as exc:
                # A principal that only serves may not list all keys, on purpose.
                self._add("keys without a label", ok=None, detail=f"not looked for: {exc}", mend=exc.hint)

    def _key(self, hsm: Hsm, key: HsmKey) -> None:
        """A provider reads a key's attributes back before it is used, so an answer says that these fit, too."""
        name = f"key {key.label}"
        with self._failing(name):
            answered = _ANSWERS[key.kind](hsm, key, self._timed)
            told = hsm.attributes(key.label) if isinstance(hsm, TellsAttributes) else {}
            attributes = ", ".join(f"{attribute} {str(value).lower()}" for attribute, value in told.items())
            self._add(name, ok=True, detail=f"{answered}; {attributes}" if attributes else answered)

    def _clock(self, hsm: Hsm) -> None:
        with self._failing("clock"):
            told = None
            if isinstance(hsm, TellsTime):
                labelled(hsm, _NOBODY)  # whose answer is as fresh as can be
                told = hsm.clock()
            if told is None:
                self._add("clock", ok=None, detail="the provider does not tell its own")
                return
            apart = abs((told - datetime.now(UTC)).total_seconds())
            ok = apart <= _MOST_APART
            self._add("clock", ok, f"{apart:.0f} s from the service's", "" if ok else _SET_CLOCK)

    @contextmanager
    def _failing(self, check: str) -> Iterator[None]:
        """What goes wrong here is a finding, and the rest is still looked at."""
        try:
            yield
        except (HsmError, SealError) as exc:
            self._add(check, ok=False, detail=str(exc), mend=exc.hint)

    def _timed(self, work: Callable[[], T]) -> T:
        begun = perf_counter()
        done = work()
        self._seconds.append(perf_counter() - begun)
        return done


def _aes(hsm: Hsm, key: HsmKey, timed: Timed) -> str:
    secret, context, other = DataKey.random(), os.urandom(32), os.urandom(32)
    wrapped = timed(lambda: hsm.wrap(key, secret, context))
    if not same_secret(secret, timed(lambda: hsm.unwrap(key, wrapped, context))):
        msg = f"{key.label!r} opened another key than it wrapped"
        raise HsmError(msg)
    try:
        hsm.unwrap(key, wrapped, other)
    except SealError:
        return "opens what it wrapped, and not in another context"
    msg = f"{key.label!r} opened what it wrapped in another context too"
    raise HsmError(msg)


def _hmac(hsm: Hsm, key: HsmKey, timed: Timed) -> str:
    message = b"icehouse doctor"
    tags = [timed(lambda: hsm.mac(key, message)).settings_tag() for _ in range(2)]
    if tags[0] != tags[1] or tags[0] == hsm.mac(key, message + b".").settings_tag():
        msg = f"{key.label!r} does not give the same answer to the same message, or gives it to another, too"
        raise HsmError(msg)
    return "the same message, the same answer, and another one to another"


def _ecdsa(hsm: Hsm, key: HsmKey, timed: Timed) -> str:
    digest = hashlib.sha256(b"icehouse doctor").digest()
    if not verify(hsm.public_key(key), digest, timed(lambda: hsm.sign(key, digest))):
        msg = f"a signature of {key.label!r} does not verify under its public key"
        raise HsmError(msg)
    return "signs, and the signature verifies under its public key"


_ANSWERS: dict[KeyKind, Callable[[Hsm, HsmKey, Timed], str]] = {
    KeyKind.AES: _aes,
    KeyKind.HMAC: _hmac,
    KeyKind.ECDSA: _ecdsa,
}
