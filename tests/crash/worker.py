"""A process that is a vault or a device, and dies where it is told to.

One script forks workers that have imported everything. A worker reads lines: commands are JSON objects, messages of
devices are not, exactly as on `icehouse exchange`'s standard input. Kill points are wrapped around real primitives,
here and in `points.c`; icehouse itself has no hook.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import socket
import sys
from pathlib import Path

import alembic.command
import alembic.config  # noqa: F401  what `init` would import late
from sqlalchemy import Engine, event, select
from sqlalchemy.engine.default import DefaultDialect

from consenting import destroyed
from icehouse._core import DeviceState, Passphrase
from icehouse.device.device import Device
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.service import FrostService
from icehouse.store.counts import miscounts
from icehouse.store.schema import root_keys
from icehouse.vault import init
from icehouse.vault.settings import Settings

POINTS = ctypes.CDLL(os.environ["LD_PRELOAD"])
PASSPHRASE = "correct horse"  # noqa: S105  of devices that live for one test
WORK_FACTOR = 2


def wrap_primitives() -> None:
    """Kill points before every statement, around every commit, before a transaction and around the HSM."""
    for name in ("before_cursor_execute", "begin", "rollback"):
        event.listen(Engine, name, lambda *_: POINTS.crash_point())
    for owner, name in (
        (DefaultDialect, "do_commit"),
        (DefaultDialect, "do_executemany"),
        *((SimulatedHsm, name) for name in ("create_key", "destroy_key", "keys", "wrap", "unwrap", "mac")),
    ):
        setattr(owner, name, _between_points(getattr(owner, name)))


def _between_points(call):
    @functools.wraps(call)
    def wrapped(*arguments, **named):
        POINTS.crash_point()
        result = call(*arguments, **named)
        POINTS.crash_point()
        return result

    return wrapped


class Wire:
    """Lines to and from the test."""

    def __init__(self, connection: socket.socket) -> None:
        self.reader = connection.makefile("r", encoding="ascii")
        self.writer = connection.makefile("w", encoding="ascii")
        self.left: int | None = None

    def put(self, line: str) -> None:
        POINTS.crash_point()
        self.writer.write(line + "\n")
        self.writer.flush()
        POINTS.crash_point()

    def exchange(self, message: str) -> str:
        """The test as a cosigner: it carries the line to the vault's process and back."""
        if self.left is not None:
            self.left -= 1
        if self.left == -1:
            msg = "the network is gone"
            raise ConnectionError(msg)
        self.put(message)
        answer = self.reader.readline().rstrip("\n")
        POINTS.crash_point()
        if answer == "lost":
            msg = "no answer came"
            raise ConnectionError(msg)
        return answer


class Vault:
    """Commands to a vault's process."""

    def __init__(self) -> None:
        self.service: FrostService | None = None

    def init(self, path: str, custody: str = "hybrid", buckets: int = 0) -> str:
        if not (Path(path) / "vault.toml").exists():
            init.make_vault(Path(path), Settings(init.STORE, init.MODULE), custody=custody, buckets=buckets)
        return "made"

    def open(self, path: str) -> None:
        self.service = FrostService.open(path)

    def close(self) -> None:
        if self.service is not None:
            self.service.close()
            self.service = None

    def create(self, user: str) -> str:
        return self.service.create_user_frost_shards(user).public_key.hex()

    def create_users(self, count: int) -> list[int]:
        result = self.service.create_users(f"user-{number}" for number in range(count))
        return [result.created, result.existing]

    def mint(self, user: str) -> str:
        return self.service.enrolment_code(user)

    def destroy(self, user: str) -> bool:
        return destroyed(self.service, user).destroyed

    def mark_due(self, user: str) -> None:
        self.service.rotate_user_frost_shards(user)

    def check(self) -> dict[str, object]:
        keys = self.service.check()
        wrong = [str(error) for error in self.service.examine() if isinstance(error, Exception)]
        users = {one.user_id: [one.public_key.hex(), one.epoch] for one in self.service.users()} if keys < 10 else {}
        return {
            "keys": keys,
            "wrong": wrong,
            "miscounts": miscounts(self.service.vault.store),
            "users": users,
            "unknown": self._unknown(),
        }

    def _unknown(self) -> list[str]:
        """Keys in the HSM that the database does not name."""
        with self.service.vault.store.database.read() as connection:
            named = set(connection.execute(select(root_keys.c.label)).scalars())
        return [key.label for key in self.service.hsm.keys("icehouse-") if key.label not in named]


class Phone:
    """Commands to a device's process."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.device: Device | None = None

    def open(self, path: str, user: str) -> None:
        """Open the device's file, or make it."""
        file = Path(path)
        if self.device is None and file.exists():
            self.device = Device.open(file, PASSPHRASE)
        elif self.device is None:
            self.device = Device.create(user, path=file, passphrase=PASSPHRASE, work_factor=WORK_FACTOR)

    def close(self) -> None:
        if self.device is not None:
            self.device.close()
            self.device = None

    def enrol(self, token: str) -> None:
        """As `icehouse device enrol` goes on after a crash."""
        if not self.device.epoch:
            self.device.enrol(self.wire, None if self.device.has_token else token)

    def enrol_anew(self, token: str) -> None:
        """With a newer token than the device has."""
        if not self.device.epoch:
            self.device.enrol(self.wire, token)

    def enrol_cut_off(self, token: str) -> None:
        """Hold an offer whose proof was never asked for: the network goes away."""
        self.wire.left = 1
        try:
            self.device.enrol(self.wire, token)
        except ConnectionError:
            self.wire.left = None

    def ask_and_forget(self, path: str) -> None:
        """Ask for an offer with a copy of the file, and lose the copy: nobody has the offer's key."""
        copy = DeviceState.from_file(Path(path).read_bytes(), Passphrase(PASSPHRASE))
        copy.prepare()
        self.wire.exchange(copy.ask())

    def sign(self, text: str) -> str:
        return self.device.sign(self.wire, text.encode()).hex()

    def rotate(self) -> None:
        self.device.rotate(self.wire)

    def facts(self) -> dict[str, object]:
        key = self.device.public_key
        pending = self.device.pending_epoch
        return {"epoch": self.device.epoch, "pending": pending, "public_key": key.hex() if key else None}


def work(connection: socket.socket) -> None:
    """Serve lines until the test hangs up."""
    wire = Wire(connection)
    roles = {"vault": Vault(), "device": Phone(wire)}
    for line in wire.reader:
        text = line.rstrip("\n")
        if not text.startswith("{"):
            POINTS.crash_point()
            wire.put(roles["vault"].service.exchange(text))
            continue
        command = json.loads(text)
        role, what = command.pop("role"), command.pop("do")
        if what == "arm":
            wire.put(json.dumps({"done": None}))
            POINTS.crash_arm(command["at"], command["writes"])
        elif what == "disarm":
            wire.put(json.dumps({"done": POINTS.crash_disarm()}))
        else:
            wire.put(json.dumps(_answer(getattr(roles[role], what), command)))


def _answer(step, arguments):
    try:
        return {"done": step(**arguments)}
    except Exception as exc:  # noqa: BLE001  the test decides what an error means
        return {"error": f"{type(exc).__name__}: {exc}"}


def fork_workers(control: socket.socket) -> None:
    """Fork a worker for every socket that arrives; tell how one ended when asked."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 64, 1)
        if not request:
            return
        if descriptors:
            pid = os.fork()
            if pid == 0:
                control.close()
                with socket.socket(fileno=descriptors[0]) as connection:
                    work(connection)
                os._exit(0)
            os.close(descriptors[0])
            control.sendall(f"{pid}".encode())
        else:
            _, status = os.waitpid(int(request), 0)
            control.sendall(f"{os.waitstatus_to_exitcode(status)}".encode())


if __name__ == "__main__":
    wrap_primitives()
    with socket.socket(fileno=int(sys.argv[1])) as the_test:
        fork_workers(the_test)
