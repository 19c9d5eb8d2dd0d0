"""A PKCS#11 module with weather in front of SoftHSM, and its twin with the habits of AWS CloudHSM (`cloudhsm_module`).

Numbers in a file that the module maps say what befalls its calls; a test changes them while the module runs, in
whatever process. What a module counts stands there too.
"""

from __future__ import annotations

import ctypes
import mmap
import shutil
import struct
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from softhsm import MODULE

if TYPE_CHECKING:
    from softhsm import Token

SOURCE = Path(__file__).with_name("cloudhsm_module") / "module.c"
NAMES = (
    "failing", "latency", "per_second", "burst", "hidden", "stale", "drop_every", "drop_now", "keys", "pairs",
    "sessions", "calls", "failed", "dropped", "largest_pool",
)  # fmt: skip
_SCALES = {"failing": 10_000, "latency": 1_000_000, "per_second": 1_000}
_SIZE = 8


class Weather:
    """What befalls the calls of a module, and what it counted.

    `failing` is a part of all calls, `latency` in seconds, `per_second` and `burst` in calls; `hidden` and `stale` say
    how many finds a new key is hidden from, and how many uses then do not know its handle; after `drop_every` calls all
    sessions are dropped. `keys`, `pairs` and `sessions` are how many there may be. 0 is none of it.
    """

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(_SIZE * len(NAMES)))
        with file.open("r+b") as opened:
            self.__dict__["_numbers"] = mmap.mmap(opened.fileno(), 0)

    def __getattr__(self, name: str) -> float:
        (number,) = struct.unpack_from("@Q", self._numbers, _SIZE * NAMES.index(name))
        return number / _SCALES[name] if name in _SCALES else number

    def __setattr__(self, name: str, value: float) -> None:
        struct.pack_into("@Q", self._numbers, _SIZE * NAMES.index(name), round(value * _SCALES.get(name, 1)))

    def clear(self) -> None:
        """No weather, and counts from zero."""
        for name in NAMES:
            if name != "drop_now":
                setattr(self, name, 0)

    def drop_sessions(self) -> None:
        """All sessions of a process are gone at its next call."""
        self.drop_now += 1


class Module:
    """A module that was built for this test run. It works with a copy of SoftHSM's library, so that it shares no
    sessions with whoever uses SoftHSM itself.
    """

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(parents=True)
        self.path = directory / f"lib{name}_pkcs11.so"
        inner, control = directory / "softhsm.so", directory / "control"
        shutil.copy(MODULE, inner)
        self.weather = Weather(control)
        flags = [f"-DCLOUDHSM={int(name == 'cloudhsm')}", f'-DINNER="{inner}"', f'-DCONTROL="{control}"']
        command = ["cc", "-std=gnu11", "-O1", "-shared", "-fPIC", *flags, "-o", self.path, SOURCE, "-ldl", "-lpthread"]
        built = subprocess.run(command, check=False, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr

    @property
    def _library(self) -> ctypes.CDLL:
        return ctypes.CDLL(str(self.path))

    @property
    def open_sessions(self) -> int:
        """How many sessions this process has open."""
        return self._library.shim_open_sessions()

    def close_all_sessions(self) -> None:
        """Close every session of this process behind its back, on every slot."""
        slots, count = (ctypes.c_ulong * 4096)(), ctypes.c_ulong(4096)
        assert self._library.shim_slots(slots, ctypes.byref(count)) == 0
        for slot in slots[: count.value]:
            self._library.shim_close_all(ctypes.c_ulong(slot))


@cache
def module(directory: Path, name: str) -> Module:
    """The module of this test run named `cloudhsm`, with CloudHSM's habits, or `weather`, without."""
    return Module(directory / name, name)


def crypto_user(token: Token, directory: Path, name: str = "crypto-user") -> Token:
    """The token, with a PIN file as CloudHSM wants it."""
    pin_file = directory / f"{name}.pin"
    pin_file.write_text(f"{name}:{token.pin_file.read_text()}")
    return replace(token, pin_file=pin_file)
