"""A mount of its own for each test, the calls that use its keys, and what each of them is on the wire."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from icehouse._core import DataKey
from icehouse.hsm import HsmKey, KeyKind, open_hsm
from servers.openbao import bao, policy_of
from servers.openbao_front import Front

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = bytes(range(32))
KEK, MASTER, AUDIT = HsmKey("kek", KeyKind.AES), HsmKey("master", KeyKind.HMAC), HsmKey("audit", KeyKind.ECDSA)
CALLS = {
    "encrypt": lambda hsm, _: hsm.wrap(KEK, DataKey.random(), CONTEXT),
    "decrypt": lambda hsm, wrapped: hsm.unwrap(KEK, wrapped, CONTEXT),
    "hmac": lambda hsm, _: hsm.mac(MASTER, b"message"),
    "sign": lambda hsm, _: hsm.sign(AUDIT, bytes(32)),
    "read": lambda hsm, _: hsm.public_key(AUDIT),
}
DEAD = "openbao://127.0.0.1:{port}/transit?insecure=1&token-source=file:{token}"


class Place:
    """A mount of the session's server, a front before it, and the token of whoever may use it."""

    def __init__(self, directory: Path) -> None:
        self.server = bao()
        self.mount = self.server.new_mount()
        self.front = Front(self.server.port)
        self.token_file = directory / "token"
        self.permit(policy_of(self.mount))

    def permit(self, policy: str) -> None:
        """From now on the token file holds a token that may do just this."""
        self.token_file.write_text(f"{self.server.new_token(policy)}\n")

    def uri(self, mount: str | None = None, **named: object) -> str:
        named = {name.replace("_", "-"): value for name, value in named.items()}
        query = {"insecure": 1, "token-source": f"file:{self.token_file}", "deadline": 5} | named
        told = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        return f"openbao://127.0.0.1:{self.front.port}/{mount or self.mount}?{told}"

    def impatient(self):
        return closing(open_hsm(self.uri(deadline=1)))

    def key(self, label: str, **shape: object) -> None:
        """Make a key behind icehouse's back."""
        self.server.api("POST", f"{self.mount}/keys/{label}", shape)

    def configure(self, label: str, **settings: object) -> None:
        self.server.api("POST", f"{self.mount}/keys/{label}/config", settings)
