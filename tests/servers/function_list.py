"""A PKCS#11 module's own functions, for tests that act behind icehouse's back."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_AT = {"C_GetSlotList": 4, "C_OpenSession": 12, "C_CloseSession": 13, "C_CloseAllSessions": 14, "C_Logout": 19}
_SERIAL_READ_WRITE = 0x6


class FunctionList:
    """The functions of a module that this process has loaded."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        # A version of two bytes, padded to the size of a pointer, and the functions after it.
        self._list = ctypes.POINTER(ctypes.c_void_p)()
        assert library.C_GetFunctionList(ctypes.byref(self._list)) == 0

    def call(self, name: str, *arguments: object) -> int:
        """Call a function; numbers go as CK_ULONG, None as NULL."""
        types = [ctypes.c_ulong if isinstance(argument, int) else ctypes.c_void_p for argument in arguments]
        function = ctypes.CFUNCTYPE(ctypes.c_ulong, *types)(self._list[1 + _AT[name]])
        return function(*arguments)

    def slots(self) -> list[int]:
        """The slots with a token; none where the module is not in use."""
        count = ctypes.c_ulong(64)
        slots = (ctypes.c_ulong * 64)()
        if self.call("C_GetSlotList", 1, ctypes.cast(slots, ctypes.c_void_p), _address(count)):
            return []
        return list(slots[: count.value])

    def close_all_sessions(self) -> None:
        """Close every session of this process, as a restarting module does."""
        for slot in self.slots():
            self.call("C_CloseAllSessions", slot)

    def log_out_everywhere(self) -> None:
        """End every login of this process, while others are in the middle of something."""
        for slot in self.slots():
            session = ctypes.c_ulong()
            if self.call("C_OpenSession", slot, _SERIAL_READ_WRITE, None, None, _address(session)) == 0:
                self.call("C_Logout", session.value)
                self.call("C_CloseSession", session.value)


def _address(number: ctypes.c_ulong) -> ctypes.c_void_p:
    return ctypes.cast(ctypes.pointer(number), ctypes.c_void_p)
