"""The calls that use a key, and what each of them needs."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace

from icehouse._core import DataKey
from icehouse.hsm import HsmKey, KeyKind, open_hsm

CONTEXT = bytes(range(32))
KEK, MASTER, AUDIT = HsmKey("kek", KeyKind.AES), HsmKey("master", KeyKind.HMAC), HsmKey("audit", KeyKind.ECDSA)
CALLS = {
    "Encrypt": lambda hsm, _: hsm.wrap(KEK, DataKey.random(), CONTEXT),
    "Decrypt": lambda hsm, wrapped: hsm.unwrap(KEK, wrapped, CONTEXT),
    "GenerateMac": lambda hsm, _: hsm.mac(MASTER, b"message"),
    "Sign": lambda hsm, _: hsm.sign(AUDIT, bytes(32)),
    "GetPublicKey": lambda hsm, _: hsm.public_key(AUDIT),
}
LABELS = {"Encrypt": "kek", "Decrypt": "kek", "GenerateMac": "master", "Sign": "audit", "GetPublicKey": "audit"}


@contextmanager
def impatient(server):
    """The service, opened with all the time in the world, and from then on used with little."""
    with closing(open_hsm(server.uri)) as hsm:
        hsm._uri = replace(hsm._uri, deadline=0.8)
        yield hsm
