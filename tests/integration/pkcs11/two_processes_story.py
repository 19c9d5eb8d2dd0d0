"""Makes, uses, finds and destroys keys on a token beside others that do so. Arguments: the URI, a name, how many."""

from __future__ import annotations

import sys
from contextlib import closing

from icehouse._core import DataKey
from icehouse.hsm import KeyKind, open_hsm


def main(uri: str, name: str, count: int) -> None:
    with closing(open_hsm(uri)) as hsm:
        for number in range(count):
            kek, master, audit = (hsm.create_key(f"{name}-{number}-{kind}", kind) for kind in KeyKind)
            hsm.wrap(kek, DataKey.random(), bytes(32))
            hsm.mac(master, b"message")
            hsm.sign(audit, bytes(32))
            assert {kek, master, audit} <= set(hsm.keys(f"{name}-"))
            if number % 2:
                hsm.destroy_key(audit)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
