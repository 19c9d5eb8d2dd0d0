"""A wire to a database that loses an answer: what was asked for is done, and nobody is told."""

from __future__ import annotations

import socket
import threading

_COMMIT = b"COMMIT\0"
"""The end of a message; BEGIN … READ COMMITTED ends otherwise."""


class LossyWire:
    """A port on loopback that passes everything on, until it is told to lose the answer to the next commit."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._left: int | None = None
        self.lost = 0
        """How many answers were lost."""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            losing = threading.Event()
            for source, sink, step in ((client, server, self._ask), (server, client, self._answer)):
                self._threads.append(threading.Thread(target=self._pass, args=(source, sink, step, losing)))
                self._threads[-1].start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, step: object, losing: threading.Event) -> None:
        with source:
            while (data := _received(source)) and step(data, losing):  # type: ignore[operator]
                sink.sendall(data)
        _end(sink)

    def _ask(self, data: bytes, losing: threading.Event) -> bool:
        if self._left is not None and _COMMIT in data:
            if self._left == 0:
                losing.set()
            self._left = self._left - 1 if self._left else None
        return True

    def lose(self, after: int = 0) -> None:
        """Lose the answer to the next commit, or to the one after so many."""
        self._left = after

    def _answer(self, _data: bytes, losing: threading.Event) -> bool:
        self.lost += losing.is_set()
        return not losing.is_set()

    def close(self) -> None:
        """Take no more connections, and wait until those there were are over."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join()


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


def _end(sink: socket.socket) -> None:
    try:
        sink.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other direction ended it first
