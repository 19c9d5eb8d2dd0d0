"""The tests' side of `worker.py`: processes that may be dead when the next line is read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent


class ProcessDiedError(Exception):
    """The other side of the pipe was killed."""


class WorkError(Exception):
    """What a worker was asked to do raised; the text names the error."""


class Nursery:
    """Forks workers off a process that has imported everything."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        assert compiler, "a C compiler is needed to build the kill points"
        library = directory / "points.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "points.c", "-ldl"], check=True)
        self.control, theirs = socket.socketpair()
        self.words = directory / "stderr"
        with self.words.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", HERE / "worker.py", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={
                    **os.environ,
                    "LD_PRELOAD": str(library),
                    "RAYON_NUM_THREADS": "1",
                    "PYTHONPATH": str(HERE.parent),
                },
                stderr=stderr,
            )
        theirs.close()

    def fork(self, role: str) -> Worker:
        """A new process."""
        ours, theirs = socket.socketpair()
        socket.send_fds(self.control, [b"fork"], [theirs.fileno()])
        theirs.close()
        return Worker(self, role, int(self.control.recv(16)), ours)

    def status(self, pid: int) -> int:
        """How a worker ended; waits for its end."""
        self.control.sendall(str(pid).encode())
        return int(self.control.recv(16))

    def close(self) -> None:
        """End it when its workers have ended."""
        self.control.close()
        self.process.wait()


class Worker:
    """A vault's or a device's process."""

    def __init__(self, nursery: Nursery, role: str, pid: int, connection: socket.socket) -> None:
        self.nursery = nursery
        self.role = role
        self.pid = pid
        self.connection = connection
        self.reader = connection.makefile("r", encoding="ascii")

    def put(self, line: str) -> None:
        try:
            self.connection.sendall(f"{line}\n".encode())
        except BrokenPipeError as exc:
            raise ProcessDiedError from exc

    def read(self) -> str:
        try:
            line = self.reader.readline()
        except ConnectionResetError:
            line = ""
        if not line.endswith("\n"):
            raise ProcessDiedError
        return line.rstrip("\n")

    def say(self, message: str) -> str:
        """One message of a device, one answer of a vault."""
        self.put(message)
        return self.read()

    def do(self, what: str, carry: Callable[[str], str] | None = None, **arguments: object) -> object:
        """A command; the messages a device sends meanwhile go through `carry`."""
        self.put(json.dumps({"role": self.role, "do": what, **arguments}))
        while not (line := self.read()).startswith('{"'):
            assert carry is not None, "only a device sends messages"
            self.put(carry(line))
        result = json.loads(line)
        if "error" in result:
            raise WorkError(result["error"])
        return result["done"]

    def end(self) -> int:
        """Hang up, and say how the process ended."""
        self.reader.close()
        self.connection.close()
        return self.nursery.status(self.pid)


KILLED = -signal.SIGKILL
