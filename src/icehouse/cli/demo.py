"""`icehouse demo`: the whole story in a directory that is gone afterwards, every line of it true."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
from collections import Counter
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from icehouse._core import Passphrase
from icehouse.cli.demo_thief import search, try_other_modules
from icehouse.device.device import Device
from icehouse.errors import IcehouseError, RequestError, StaleEpochError
from icehouse.service import FrostService
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_USERS = tuple(f"user{number}" for number in range(1, 6))
_PASSPHRASE = "only for this demonstration"  # noqa: S105
# A real device file takes 2^16 of scrypt's work; this many of them would only make the story long.
_WORK_FACTOR = 12


def demo() -> None:
    """Make five users' keys, sign, rotate, refuse an old shard and a thief; leave nothing behind."""
    verifier = _unrelated_verifier()
    # The story says itself, and loudly, that its HSM is simulated.
    logging.getLogger("icehouse").setLevel(logging.CRITICAL)
    with _cleaning_up_when_told_to_stop(), TemporaryDirectory(prefix="icehouse-demo-") as directory:
        _Story(Path(directory), verifier).tell()


class _Story:
    def __init__(self, directory: Path, verifier: Callable[[bytes, bytes, bytes], bool]) -> None:
        self.directory = directory
        self.vault = directory / "vault"
        self.verify = verifier
        self.devices: dict[str, Device] = {}
        self.done: Counter[str] = Counter()

    def tell(self) -> None:
        _chapter("A vault")
        founded = make_vault(self.vault, Settings(STORE, MODULE))
        _line(f"vault {founded.vault_id.hex()} in {self.vault}")
        _line("its HSM is SIMULATED: software that behaves like one, for trying only")
        with FrostService.open(self.vault) as service:
            self._make_keys(service)
            tokens = self._enrol(service)
            self._sign(service, "Each user signs")
            self._rotate(service)
            self._count(service)
            search(service, self.vault, _USERS[0], [token.partition(".")[2] for token in tokens])
        for device in self.devices.values():
            device.close()
        try_other_modules(self.vault, self.directory / "thief")
        _chapter("The end")
        _line(f"{self.directory} and everything in it is being removed")

    def _make_keys(self, service: FrostService) -> None:
        _chapter("Five users, as in the original strategy's test script")
        for user in _USERS:
            shards = service.create_keygen_ceremony(2, [user, "server"])
            self.done["keys made"] += 1
            _line(f"{user}: {shards.threshold}-of-{len(shards.participants)} key, public key {shards.public_key.hex()}")
        roots = " and ".join(root.label for root in service.vault.store.record.roots)
        _line(f"their shares are sealed under data keys that {roots} wrap")
        _line(f"keys in the HSM: {len(service.hsm.keys('icehouse-'))}, for {service.vault.store.count()} users")

    def _enrol(self, service: FrostService) -> list[str]:
        _chapter("Each user's device claims its share with a one-time code")
        tokens = []
        for user in _USERS:
            tokens.append(service.enrolment_code(user))
            file = self.directory / f"{user}.device"
            device = Device.create(user, path=file, passphrase=Passphrase(_PASSPHRASE), work_factor=_WORK_FACTOR)
            device.enrol(service, tokens[-1])
            self.devices[user] = device
            self.done["claims"] += 1
            _line(f"{user}: enrolled at epoch {device.epoch}, the shard in {file.name}, {file.stat().st_size} bytes")
        return tokens

    def _sign(self, service: FrostService, title: str) -> None:
        _chapter(title)
        for user, device in self.devices.items():
            message = f"rotate-shards-{user}".encode()
            signature = service.create_signing_ceremony(message, [user, "server"]).run(device)
            public_key = service.get_shards(user).public_key
            _must(self.verify(public_key, message, signature), "the unrelated library refuses the signature")
            _must(not self.verify(public_key, message + b"!", signature), "the signature fits another text, too")
            self.done["signatures"] += 1
            _line(f"{user}: {signature.hex()[:32]}…  pyca/cryptography: valid, and for another text invalid")

    def _rotate(self, service: FrostService) -> None:
        user = _USERS[0]
        stolen = self.directory / f"{user}.device.old"
        shutil.copyfile(self.directory / f"{user}.device", stolen)
        _chapter("The shards rotate")
        for name, device in self.devices.items():
            before, epoch = device.public_key, device.epoch
            device.rotate(service)
            _must(device.public_key == before, "the public key moved")
            self.done["rotations"] += 1
            _line(f"{name}: epoch {epoch} to {device.epoch}, the same public key")
        self._sign(service, "Each user signs with the new shards")
        _chapter(f"A copy of {user}'s device file, made before the rotation, tries to sign")
        with Device.open(stolen, Passphrase(_PASSPHRASE)) as old:
            refused = _refusal_of(old, service)
        _must(refused is not None, "the old shard signed")
        _line(f"refused: {refused}")

    def _count(self, service: FrostService) -> None:
        _chapter("What the HSM was asked for")
        counts = {kind: count for kind, count in service.hsm.operations.by_kind().items() if count}
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        _line(f"{service.hsm.operations.total} operations since the vault was opened: {kinds}")
        _line(f"for {', '.join(f'{number} {what}' for what, number in self.done.items())}")


def _refusal_of(device: Device, service: FrostService) -> StaleEpochError | None:
    try:
        device.sign(service, b"pay the thief")
    except StaleEpochError as refusal:
        return refusal
    return None


def _chapter(title: str) -> None:
    sys.stdout.write(f"\n{title}\n")


def _line(text: str) -> None:
    sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()


def _must(really: bool, otherwise: str) -> None:  # noqa: FBT001  it reads as a sentence
    if not really:
        msg = f"{otherwise}: this must never happen"
        raise IcehouseError(msg)


def _unrelated_verifier() -> Callable[[bytes, bytes, bytes], bool]:
    """Ed25519 by pyca/cryptography, which shares no code with icehouse."""
    try:
        ed25519 = import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
        refusal = import_module("cryptography.exceptions").InvalidSignature
    except ImportError as exc:
        msg = "the demonstration has its signatures verified by an unrelated library, and cryptography is not installed"
        raise RequestError(msg, hint="pip install cryptography") from exc

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except refusal:
            return False
        return True

    return verify


@contextmanager
def _cleaning_up_when_told_to_stop() -> Iterator[None]:
    """SIGTERM and SIGHUP end the story as Ctrl-C does, through every `with` and its cleaning up."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
