"""A process forks, and its child forks again, with a module open and used; everyone goes on with it.

Run as a process of its own, so that the fork copies no other test's threads. Argument: the module's URI.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from icehouse._core import DataKey, same_secret
from icehouse.hsm import KeyKind, open_hsm

CONTEXT = bytes(32)


def tell(who: str) -> None:
    """Say who went on; at once, so that no child says it again."""
    os.write(sys.stdout.fileno(), f"{who}\n".encode())


def main(uri: str) -> None:
    hsm, other = open_hsm(uri), open_hsm(uri)
    key = hsm.create_key("kek", KeyKind.AES)
    secret = DataKey.random()
    wrapped = hsm.wrap(key, secret, CONTEXT)
    other.keys("")

    def use(_: int = 0) -> None:
        assert same_secret(hsm.unwrap(key, wrapped, CONTEXT), secret)
        assert same_secret(hsm.unwrap(key, hsm.wrap(key, secret, CONTEXT), CONTEXT), secret)

    def use_in_threads() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(use, range(16)))

    def in_child(work) -> None:
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            assert status == 0, f"the child ended with {status}"
            return
        work()
        os._exit(0)

    def grandchild() -> None:
        use()
        tell("grandchild")

    def child() -> None:
        use_in_threads()
        other.keys("")
        in_child(grandchild)
        use()
        hsm.close()
        tell("child")

    in_child(child)
    use_in_threads()
    other.keys("")
    tell("parent")


main(sys.argv[1])
