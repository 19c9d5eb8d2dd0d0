"""Wrapped data keys open under their key, in their context, as they were; and not otherwise."""

from __future__ import annotations

import pytest

from icehouse._core import DataKey, data_key_to_bytes, same_secret
from icehouse.errors import HsmRefusedError, RequestError, SealError
from icehouse.hsm import KeyKind

CONTEXT = bytes(range(32))


@pytest.fixture
def key(hsm):
    return hsm.create_key("kek", KeyKind.AES)


def test_a_wrapped_data_key_opens_in_its_context(hsm, key):
    secret = DataKey.random()

    assert same_secret(hsm.unwrap(key, hsm.wrap(key, secret, CONTEXT), CONTEXT), secret)


def test_the_same_data_key_is_never_wrapped_alike(hsm, key):
    secret = DataKey.random()

    assert len({hsm.wrap(key, secret, CONTEXT) for _ in range(20)}) == 20


def test_another_context_does_not_open_it(hsm, key):
    wrapped = hsm.wrap(key, DataKey.random(), CONTEXT)

    for bit in range(0, 256, 17):
        bent = bytearray(CONTEXT)
        bent[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealError, match="does not open"):
            hsm.unwrap(key, wrapped, bytes(bent))


@pytest.mark.parametrize("context", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_context_of_another_length_than_32_bytes_is_a_wrong_request(hsm, key, context):
    wrapped = hsm.wrap(key, DataKey.random(), CONTEXT)

    with pytest.raises(RequestError, match="a context must be 32 bytes"):
        hsm.wrap(key, DataKey.random(), context)
    with pytest.raises(RequestError, match="a context must be 32 bytes"):
        hsm.unwrap(key, wrapped, context)


def test_no_bent_bit_goes_unnoticed(hsm, key):
    wrapped = hsm.wrap(key, DataKey.random(), CONTEXT)

    for bit in range(8 * len(wrapped)):
        bent = bytearray(wrapped)
        bent[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealError):
            hsm.unwrap(key, bytes(bent), CONTEXT)


def test_no_truncated_or_lengthened_wrapping_opens(hsm, key):
    wrapped = hsm.wrap(key, DataKey.random(), CONTEXT)

    for length in range(len(wrapped)):
        with pytest.raises(SealError):
            hsm.unwrap(key, wrapped[:length], CONTEXT)
    for changed in (wrapped + b"\0", b"\0" + wrapped, wrapped + wrapped, wrapped[::-1], wrapped * 1000):
        with pytest.raises(SealError):
            hsm.unwrap(key, changed, CONTEXT)


def test_another_key_of_the_module_does_not_open_it(hsm, key):
    wrapped = hsm.wrap(key, DataKey.random(), CONTEXT)
    other = hsm.create_key("other", KeyKind.AES)

    with pytest.raises(SealError, match="'other'"):
        hsm.unwrap(other, wrapped, CONTEXT)
    hsm.unwrap(key, wrapped, CONTEXT)


def test_wrapped_bytes_do_not_hold_the_data_key(adapter, hsm, key):
    secret = DataKey.random()
    wrapped = hsm.wrap(key, secret, CONTEXT)

    assert data_key_to_bytes(secret)[:8] not in wrapped
    assert len(wrapped) == adapter.wrapped_bytes


def test_a_refused_unwrapping_leaves_the_module_working(hsm, key):
    wrapped = hsm.wrap(key, DataKey.random(), CONTEXT)

    for _ in range(40):
        with pytest.raises(SealError):
            hsm.unwrap(key, wrapped, bytes(32))
        hsm.unwrap(key, wrapped, CONTEXT)


def test_a_key_that_cannot_unwrap_says_so_before_it_looks_at_the_bytes(hsm):
    mac = hsm.create_key("master", KeyKind.HMAC)

    with pytest.raises(HsmRefusedError, match="kind"):
        hsm.unwrap(mac, bytes([1]) + bytes(60), CONTEXT)
