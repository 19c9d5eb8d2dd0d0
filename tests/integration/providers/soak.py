"""Eight threads on one provider whose sessions are lost every second: right answers only, and nothing left behind.

`make soak` does it on every provider for a minute, and prints what it saw as a table.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from conformance.hsm.adapters import ADAPTERS, Pkcs11InWeather
from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmUnavailableError, IcehouseError, SealError
from icehouse.hsm import KeyKind
from softhsm import SoftHsm

if TYPE_CHECKING:
    from conformance.hsm.adapters import Adapter
    from icehouse.hsm import Hsm

THREADS = 8
CONTEXT, OTHER_CONTEXT = bytes(32), bytes(31) + b"\1"
DIGEST = bytes(range(32))


@dataclass
class Soaked:
    """What eight threads met."""

    provider: str
    operations: int = 0
    losses: int = 0
    put_off: int = 0
    """Operations that were unavailable to their callers."""
    wrong: Counter[str] = field(default_factory=Counter)
    most_held: int = 0
    """Sessions or connections at any one time."""
    left: int = 0
    """Sessions or connections still open once the HSM was closed."""

    def row(self) -> str:
        told = [self.operations, self.losses, self.put_off, sum(self.wrong.values()), self.most_held, self.left]
        return " | ".join([f"| `{self.provider}`", *(f"{number:,}" for number in told)]) + " |"


class _Known:
    """Keys of every kind, and what the right answers are."""

    def __init__(self, hsm: Hsm) -> None:
        self.hsm = hsm
        self.kek, self.master, self.audit = (hsm.create_key(f"soak-{kind}", kind) for kind in KeyKind)
        self.secret = DataKey.random()
        self.wrapped = hsm.wrap(self.kek, self.secret, CONTEXT)
        self.mac = hsm.mac(self.master, b"message")
        self.public_key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), hsm.public_key(self.audit))

    def wrap(self) -> bool:
        secret = DataKey.random()
        return same_secret(self.hsm.unwrap(self.kek, self.hsm.wrap(self.kek, secret, CONTEXT), CONTEXT), secret)

    def unwrap(self) -> bool:
        return same_secret(self.hsm.unwrap(self.kek, self.wrapped, CONTEXT), self.secret)

    def unwrap_elsewhere(self) -> bool:
        try:
            self.hsm.unwrap(self.kek, self.wrapped, OTHER_CONTEXT)
        except SealError:
            return True
        return False

    def authenticate(self) -> bool:
        return same_secret(self.hsm.mac(self.master, b"message"), self.mac)

    def sign(self) -> bool:
        signature = self.hsm.sign(self.audit, DIGEST)
        r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        try:
            self.public_key.verify(encode_dss_signature(r, s), DIGEST, ECDSA(Prehashed(hashes.SHA256())))
        except InvalidSignature:
            return False
        return True

    def listing(self) -> bool:
        return self.hsm.keys("soak-") == sorted([self.kek, self.master, self.audit], key=lambda key: key.label)


def soak(adapter: Adapter, seconds: float) -> Soaked:
    """Let eight threads use one HSM; every second, and at least three times, its sessions are lost."""
    seen, over = Soaked(adapter.name), threading.Event()
    before = adapter.held()
    hsm = adapter.open()
    known = _Known(hsm)
    with ThreadPoolExecutor(THREADS) as pool:
        threads = [pool.submit(_work, known, seen, over, turn) for turn in range(THREADS)]
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end and not any(thread.done() for thread in threads):
                over.wait(min(1.0, seconds / 4))
                seen.most_held = max(seen.most_held, adapter.held() - before)
                adapter.lose_session_in_use(hsm)
                seen.losses += 1
        finally:
            over.set()
    for thread in threads:
        thread.result()
    seen.operations = hsm.operations.total
    hsm.close()
    seen.left = _settled(adapter, before)
    return seen


def _work(known: _Known, seen: Soaked, over: threading.Event, turn: int) -> None:
    every = [known.wrap, known.unwrap, known.unwrap_elsewhere, known.authenticate, known.sign, known.listing]
    while not over.is_set():
        question = every[turn % len(every)]
        turn += 1
        try:
            wrong = None if question() else question.__name__
        except HsmUnavailableError:
            with _COUNTING:
                seen.put_off += 1
            continue
        except IcehouseError as exc:
            wrong = f"{question.__name__}: {exc!r}"
        if wrong:
            with _COUNTING:
                seen.wrong[wrong] += 1


_COUNTING = threading.Lock()


def _settled(adapter: Adapter, before: int) -> int:
    """What stays open; a connection may take a moment to be taken down, and an error that names it to be collected."""
    for _ in range(100):
        gc.collect()
        if adapter.held() <= before:
            return 0
        time.sleep(0.1)
    return adapter.held() - before


def main() -> None:
    """Soak every provider for the seconds given."""
    seconds = float(sys.argv[1])
    tell("| provider | operations | session losses | put off | wrong answers | sessions at most | sessions left |")
    tell("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        softhsm = SoftHsm(Path(place) / "softhsm")
        for make in (*ADAPTERS, Pkcs11InWeather):
            directory = Path(place) / make.name
            directory.mkdir()
            adapter = make(directory, lambda: softhsm)
            try:
                seen = soak(adapter, seconds)
            finally:
                adapter.clean()
            tell(seen.row())
            if seen.wrong or seen.left:
                sys.exit(f"{seen.wrong}, {seen.left} left")


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
