"""A PKCS#11 module in front of SoftHSM with the habits that other modules were seen to have (`odd_module.c`).

Numbers in a file that the module maps switch each habit on; a test changes them while the module runs.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from softhsm import MODULE, SoftHsm

if TYPE_CHECKING:
    from softhsm import Token

SOURCE = Path(__file__).with_name("odd_module.c")
NAMES = (
    "clock", "nuls", "counted", "wrong", "small", "twice", "none", "memory", "without", "arguments", "derives",
    "foreign", "logins", "made",
)  # fmt: skip
START = "start='here' flags=a%b"
"""The configuration that the module wants where `arguments` is on."""
_NUMBERS = count(1)


class Habits:
    """What the module does that SoftHSM does not. 0 is none of it.

    `clock`: a clock text of other characters; `nuls`: strings padded with NULs; `counted`: three wrong PINs lock it,
    and flags tell; `small`: size queries answer 16 bytes too few, and one without room goes on (1) or ends (2);
    `derives`: keys derive unless their template says no; `foreign`: CKA_LOCAL is false; `arguments`: C_Initialize wants
    a configuration; `without`: the number of a mechanism that it does not have. `twice`, `none` and `memory` are how
    many of the next answers list an object twice, list none, and make no key for want of memory. It tells `wrong`
    PINs, `logins` that were tried, and keys that were `made`.
    """

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(8 * len(NAMES)))
        with file.open("r+b") as opened:
            self.__dict__["_numbers"] = mmap.mmap(opened.fileno(), 0)

    def __getattr__(self, name: str) -> int:
        (number,) = struct.unpack_from("@Q", self._numbers, 8 * NAMES.index(name))
        return number

    def __setattr__(self, name: str, value: int) -> None:
        struct.pack_into("@Q", self._numbers, 8 * NAMES.index(name), value)


@dataclass(frozen=True, slots=True)
class OddModule:
    """A module that was built for one test, and a token behind it."""

    path: Path
    habits: Habits
    token: Token

    def uri(self, path: str = "", query: str = "") -> str:
        """The URI that opens it, with more attributes, each with its separator before it."""
        where = f"module-path={quote(str(self.path))}&pin-source=file:{self.token.pin_file}"
        return f"pkcs11:token={self.token.label}{path}?{where}{query}"


def odd_module(softhsm: SoftHsm, directory: Path) -> OddModule:
    """Build the module. A process loads a library once, so each test has its own."""
    directory.mkdir(parents=True, exist_ok=True)
    path, inner, control = directory / "libodd.so", directory / "softhsm.so", directory / "control"
    shutil.copy(MODULE, inner)
    habits = Habits(control)
    flags = [f'-DINNER="{inner}"', f'-DCONTROL="{control}"']
    command = ["cc", "-std=gnu11", "-O1", "-shared", "-fPIC", *flags, "-o", path, SOURCE, "-ldl"]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return OddModule(path, habits, softhsm.new_token(f"odd-{next(_NUMBERS)}"))
