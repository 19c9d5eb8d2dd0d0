"""What holds a secret shows nothing, compares with nothing, and goes nowhere."""

from __future__ import annotations

import copy
import operator
import pickle

import pytest

from icehouse import _core
from icehouse._core import DataKey, DeviceState, Group, Passphrase, SoftwareToken, deal
from icehouse.custody import OpenKey
from icehouse.device.device import Device
from icehouse.device.file import MemoryFile
from icehouse.model import Purpose, WrappedKey
from icehouse.service import create_hsm_frost
from icehouse.vault.settings import Settings

PUBLIC = {"Group", "Row", "Envelope", "Request"}
"""Classes of the core that hold nothing secret."""
TOKENS = {"SoftwareToken", "Pkcs11Token"}
"""Ways to an HSM: compared as any object is, but never shown and never pickled."""
CLASSES = {name for name, value in vars(_core).items() if isinstance(value, type)}


def make_round():
    frost = create_hsm_frost("simulated")
    frost.create_users(["alice"])
    device = DeviceState("alice")
    alice = Device(device, MemoryFile())
    alice.enrol(frost, frost.enrolment_code("alice"))
    nonces = device.ask_signature(b"text")[0]
    frost.close()
    return nonces


def make_mac_key():
    commitments, shares = deal("ed25519", 2, 2)
    group = Group(bytes(16), "alice", "ed25519", 0, 2, ["alice", "server"], 1, commitments)
    return shares[1].channel_key(group, 1, 1)


MAKERS = {
    "DataKey": DataKey.random,
    "MacKey": make_mac_key,
    "Node": lambda: _core.node_from_bytes(bytes(64)),
    "Passphrase": lambda: Passphrase("horse"),
    "Share": lambda: deal("ed25519", 2, 2)[1][0],
    "Round": make_round,
    "DeviceState": lambda: DeviceState("alice"),
}


def test_every_class_of_the_core_is_public_or_opaque():
    assert {*MAKERS, *PUBLIC, *TOKENS} == CLASSES


@pytest.fixture(params=sorted(MAKERS))
def secret(request):
    return MAKERS[request.param]()


def test_a_secret_shows_nothing(secret):
    shown = f"{type(secret).__name__}(<redacted>)"

    assert {repr(secret), str(secret), f"{secret}", f"{secret!r:>1}"} == {shown}
    assert not hasattr(secret, "__dict__")
    assert not any(name.startswith(("expose", "bytes", "to_bytes", "hex")) for name in dir(secret))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(secret, protocol):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(secret, protocol)


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, hash, bytes, memoryview, int, len, list])
def test_a_secret_is_not_copied_hashed_or_taken_for_something_else(secret, take):
    with pytest.raises(TypeError):
        take(secret)


@pytest.mark.parametrize("compare", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_a_secret_is_not_compared(secret, compare):
    for other in (secret, 1, b"", None):
        with pytest.raises(TypeError, match="cannot be compared"):
            getattr(operator, compare)(secret, other)


def test_a_token_is_not_shown_and_not_pickled():
    token = SoftwareToken()

    assert repr(token) == "SoftwareToken(<redacted>)"
    with pytest.raises(TypeError):
        pickle.dumps(token)


def test_what_holds_a_secret_is_not_pickled_either():
    frost = create_hsm_frost("simulated")
    wrapped = WrappedKey(1, Purpose.SERVER, "label", b"")
    for holder in (Device.create("alice"), OpenKey(wrapped, DataKey.random()), frost, frost.vault, frost.vault.custody):
        with pytest.raises(TypeError):
            pickle.dumps(holder)
    frost.close()


def test_an_open_data_key_is_redacted_in_its_holders_repr():
    assert "DataKey(<redacted>)" in repr(OpenKey(WrappedKey(1, Purpose.SERVER, "label", b""), DataKey.random()))


def test_a_database_password_is_not_in_the_settings_repr():
    settings = Settings(store_url="postgresql://icehouse:correct-horse@host/vault", hsm_uri="simulated:")

    assert "correct-horse" not in repr(settings)
