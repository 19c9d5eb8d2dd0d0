"""A relay on loopback in front of a server: the network between, which can swallow what is sent."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Relay:
    """Carries bytes to a port of this machine and back; after `swallow`, none of them arrives anywhere."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._swallows = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """From now on connections stay open, new ones are accepted, and nothing comes through."""
        self._swallows.set()

    def recover(self) -> None:
        """Carry again, over new connections: what was swallowed is lost."""
        self._swallows.clear()
        self._drop()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # else the thread in `accept` would stay
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._target))
                self._open += [here, there]
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                if not self._swallows.is_set():
                    sink.sendall(content)
            if not self._swallows.is_set():
                sink.shutdown(socket.SHUT_WR)
