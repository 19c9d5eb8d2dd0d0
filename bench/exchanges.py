"""What a device's messages cost the server, in process: a signature's half, and a rotation offer."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from icehouse import Device

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from icehouse import FrostService

_MESSAGE = b"a message of thirty-two bytes..."
_ROUNDS_PER_DEVICE = 5


def enrolled(service: FrostService, users: Iterable[str]) -> list[Device]:
    """A device for each of these users, in memory, enrolled."""
    devices = []
    for user in users:
        device = Device.create(user)
        device.enrol(service, service.enrolment_code(user))
        devices.append(device)
    return devices


def _timed(service: FrostService, messages: Iterable[str], answered: str) -> list[float]:
    samples = []
    for message in messages:
        start = perf_counter()
        answer = service.exchange(message)
        samples.append((perf_counter() - start) * 1e6)
        if answer.startswith("{"):
            msg = f"the message was refused, not {answered}: {answer}"
            raise RuntimeError(msg)
    return samples


def signature_halves(service: FrostService, devices: Sequence[Device]) -> list[float]:
    """Microseconds of `exchange` of each `cosign` message; no key is asked twice in a row."""
    state = [device._state for device in devices]  # noqa: SLF001  the message alone, without the device's work
    messages = [own.ask_signature(_MESSAGE)[1] for _ in range(_ROUNDS_PER_DEVICE) for own in state]
    return _timed(service, messages, "cosigned")


def rotation_offers(service: FrostService, devices: Sequence[Device]) -> list[float]:
    """Microseconds of `exchange` of a `rotate` message, the durable write of the offer included."""
    messages = []
    for device in devices:
        state = device._state  # noqa: SLF001  the message alone, without the device's work
        state.prepare()
        messages.append(state.ask())
    samples = _timed(service, messages, "offered")
    for device in devices:
        device.rotate(service)  # takes the same offer, and commits it: the next round starts afresh
    return samples
