"""Devices that stop at every message, and disks that die at a write."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from icehouse._core import DeviceState, Passphrase
from icehouse.device.device import Device
from icehouse.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

PASSPHRASE = Passphrase("correct horse")
WORK_FACTOR = 1


class Crash(BaseException):
    """The device's process is gone."""


class Disk:
    """A device's file, as it would be found after a crash; it remembers what it held before."""

    path = None

    def __init__(self, content: bytes) -> None:
        self.contents = [content]
        self.fault: str | None = None
        self.watch: Callable[[DeviceState, DeviceState], None] = lambda _before, _after: None

    def check_open(self) -> None:
        """It is never closed."""

    def check(self) -> None:
        """It may always be written; whether a write works is another matter."""

    def write(self, state: DeviceState) -> None:
        """Write, unless the disk is full or the process dies before or after it."""
        fault, self.fault = self.fault, None
        if fault == "full":
            msg = "the disk is full"
            raise StoreError(msg)
        if fault == "die before":
            raise Crash
        content = state.to_file(PASSPHRASE, WORK_FACTOR)
        self.watch(self.state(), state)
        self.contents.append(content)
        if fault == "die after":
            raise Crash

    def state(self, back: int = 0) -> DeviceState:
        """What the file holds, or held that many writes ago."""
        return DeviceState.from_file(self.contents[max(0, len(self.contents) - 1 - back)], PASSPHRASE)

    def close(self) -> None:
        """Nothing is held."""


class Conversation:
    """Something a device does, stopped at every message until the test lets it go on.

    The device runs in a thread of its own, but never at the same time as the test.
    """

    def __init__(self, work: Callable[[Conversation], object]) -> None:
        self._to_device: SimpleQueue[str | BaseException] = SimpleQueue()
        self._to_test: SimpleQueue[str | None] = SimpleQueue()
        self.failure: BaseException | None = None
        self.result: object = None
        self._thread = Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self.message = self._to_test.get()

    def _run(self, work: Callable[[Conversation], object]) -> None:
        try:
            self.result = work(self)
        except BaseException as exc:  # noqa: BLE001  the test looks at it
            self.failure = exc
        self._to_test.put(None)

    def exchange(self, message: str) -> str:
        """The device's view: one message, one answer."""
        self._to_test.put(message)
        answer = self._to_device.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def go_on(self, answer: str | BaseException) -> None:
        """Give an answer, or raise what befalls the device while it waits for one."""
        self._to_device.put(answer)
        self.message = self._to_test.get()
        if self.message is None:
            self._thread.join()


class Pocket:
    """A device with its disk, and what it is doing just now."""

    def __init__(self, name: str, lineage: str, content: bytes) -> None:
        self.name = name
        self.lineage = lineage
        self.disk = Disk(content)
        self.doing: Conversation | None = None
        self.held: str | None = None
        self.start()

    def start(self) -> None:
        """The process starts from what is durable."""
        self.disk.fault = None
        self.doing = self.held = None
        self.device = Device(self.disk.state(), self.disk)

    def begin(self, work: Callable[[Device, Conversation], object]) -> None:
        """Do something until the first message, or to its end."""
        device = self.device
        self.doing = Conversation(lambda wire: work(device, wire))

    def go_on(self, answer: str | BaseException) -> None:
        """Go on to the next message, or to the end."""
        self.held = None
        if self.doing is not None:
            self.doing.go_on(answer)


def new_content(user: str) -> bytes:
    """The file of a device that holds nothing yet."""
    return DeviceState(user).to_file(PASSPHRASE, WORK_FACTOR)
