"""SoftHSM 2 with tokens of its own in a directory of its own, for any test that needs a real PKCS#11 module."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = Path(os.environ.get("ICEHOUSE_TEST_SOFTHSM", "/usr/lib/softhsm/libsofthsm2.so"))
PIN = "648219"


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was made for one test."""

    label: str
    pin_file: Path
    directory: Path
    """Where SoftHSM keeps it; without it the token is away."""

    @property
    def uri(self) -> str:
        """The URI that opens it."""
        return f"pkcs11:token={self.label}?module-path={MODULE}&pin-source=file:{self.pin_file}"


class SoftHsm:
    """A SoftHSM of which this process, and its children, see only one directory.

    The module reads `SOFTHSM2_CONF` once, when a process first uses it: make this before that, and once.
    """

    def __init__(self, directory: Path) -> None:
        for needed in (MODULE, shutil.which("softhsm2-util")):
            assert needed, "softhsm2 must be installed: these tests never pass without it"
            assert Path(needed).exists(), f"softhsm2 must be installed: there is no {needed}"
        self.directory = directory
        self.tokens = directory / "tokens"
        self.tokens.mkdir(parents=True)
        conf = directory / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(conf)

    def new_token(self, label: str, pin: str = PIN) -> Token:
        """Make a token; labels need not differ."""
        before = set(self.tokens.iterdir())
        run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", f"so-{pin}")
        pin_file = self.directory / f"{label}.pin"
        pin_file.write_text(f"{pin}\n")
        pin_file.chmod(0o600)
        (directory,) = set(self.tokens.iterdir()) - before
        return Token(label, pin_file, directory)

    def new_key(self, token: Token, label: str, *options: str, key_type: str = "AES:32") -> None:
        """Make a key behind icehouse's back, with the options of `pkcs11-tool --keygen`."""
        self.tool(token, "--keygen", "--key-type", key_type, "--label", label, *options)

    def tool(self, token: Token, *options: str) -> None:
        """Use `pkcs11-tool` on a token."""
        pin = token.pin_file.read_text().strip()
        run("pkcs11-tool", "--module", str(MODULE), "--token-label", token.label, "--login", "--pin", pin, *options)


def keys_in(token: Token) -> list[str]:
    """The files of a token's objects, without the one that describes the token itself."""
    return [path.name for path in token.directory.glob("*.object") if path.name != "token.object"]


def run(*command: str) -> None:
    """Run a tool, and show what it said when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


def close_all_sessions() -> None:
    """Close every session of this process behind its back, on every slot, as a restarting HSM does.

    The module's state belongs to the process, so a second way into the same library reaches it.
    """
    module = ctypes.CDLL(str(MODULE))
    for slot in _slots(module):
        module.C_CloseAllSessions(ctypes.c_ulong(slot))


def log_out_everywhere() -> None:
    """End every login of this process behind its back, while others are in the middle of something.

    A session that SoftHSM closes while a thread is in it takes the process down (measured, without icehouse). A login
    may end at any time; every key's handle is void then, as after a lost session.
    """
    module = ctypes.CDLL(str(MODULE))
    for slot in _slots(module):
        with _session(module, slot) as session:
            if session:
                module.C_Logout(session)


def open_sessions() -> int:
    """How many sessions this process holds open in SoftHSM, on all tokens.

    The module does not tell (`ulSessionCount` is "unavailable"), but it numbers them: each number given out so far is
    asked whether it still is a session.
    """
    module = ctypes.CDLL(str(MODULE))
    info = (ctypes.c_ulong * 4)()
    for slot in _slots(module):
        with _session(module, slot) as newest:
            if newest:
                numbers = range(1, newest.value)
                return sum(module.C_GetSessionInfo(ctypes.c_ulong(number), info) == 0 for number in numbers)
    return 0


@contextmanager
def _session(module: ctypes.CDLL, slot: int) -> Iterator[ctypes.c_ulong | None]:
    """A session of ours, or None on a slot whose token nobody has initialised."""
    opened, serial_read_write = ctypes.c_ulong(), ctypes.c_ulong(0x6)
    if module.C_OpenSession(ctypes.c_ulong(slot), serial_read_write, None, None, ctypes.byref(opened)):
        yield None
        return
    try:
        yield opened
    finally:
        module.C_CloseSession(opened)


def _slots(module: ctypes.CDLL) -> list[int]:
    """The slots with a token; none where the module is not in use."""
    count = ctypes.c_ulong()
    if module.C_GetSlotList(ctypes.c_ubyte(1), None, ctypes.byref(count)):
        return []
    slots = (ctypes.c_ulong * count.value)()
    assert module.C_GetSlotList(ctypes.c_ubyte(1), slots, ctypes.byref(count)) == 0
    return list(slots[: count.value])
