"""Sessions get lost, modules go away and come back; keys stay, and nothing is taken for destroyed."""

from __future__ import annotations

import pytest

from conformance.hsm.adapters import Can
from conformance.hsm.patience import eventually
from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmRefusedError, HsmUnavailableError, RequestError
from icehouse.hsm import KeyKind

CONTEXT = bytes(32)


@pytest.fixture
def keys(hsm):
    return {kind: hsm.create_key(f"key-{kind}", kind) for kind in KeyKind}


def test_every_operation_goes_on_after_a_lost_session(adapter, hsm, keys):
    secret = DataKey.random()
    wrapped, mac = hsm.wrap(keys["aes"], secret, CONTEXT), hsm.mac(keys["hmac"], b"message")
    point = hsm.public_key(keys["ecdsa"])

    adapter.lose_session(hsm)
    assert same_secret(hsm.unwrap(keys["aes"], wrapped, CONTEXT), secret)
    adapter.lose_session(hsm)
    assert same_secret(hsm.mac(keys["hmac"], b"message"), mac)
    adapter.lose_session(hsm)
    assert len(hsm.sign(keys["ecdsa"], bytes(32))) == 64
    adapter.lose_session(hsm)
    assert hsm.public_key(keys["ecdsa"]) == point
    adapter.lose_session(hsm)
    assert same_secret(hsm.unwrap(keys["aes"], hsm.wrap(keys["aes"], secret, CONTEXT), CONTEXT), secret)
    adapter.lose_session(hsm)
    assert hsm.keys("key-") == sorted(keys.values(), key=lambda key: key.label)


@pytest.mark.usefixtures("keys")
def test_keys_are_made_and_destroyed_after_a_lost_session_once(adapter, hsm):
    adapter.lose_session(hsm)
    made = hsm.create_key("made", KeyKind.AES)
    hsm.wrap(made, DataKey.random(), CONTEXT)
    assert made in hsm.keys("")

    adapter.lose_session(hsm)
    with pytest.raises(HsmRefusedError, match="already"):
        hsm.create_key("made", KeyKind.AES)
    adapter.lose_session(hsm)
    eventually(lambda: hsm.destroy_key(made))
    assert made not in hsm.keys("")


def test_many_losses_in_a_row_leave_the_module_working(adapter, hsm, keys):
    wrapped = hsm.wrap(keys["aes"], DataKey.random(), CONTEXT)

    for _ in range(30):
        adapter.lose_session(hsm)
        hsm.unwrap(keys["aes"], wrapped, CONTEXT)


@pytest.mark.needs(Can.GO_AWAY)
def test_a_module_that_is_away_is_unavailable_and_works_again_when_it_is_back(adapter, hsm, keys):
    secret = DataKey.random()
    wrapped, mac = hsm.wrap(keys["aes"], secret, CONTEXT), hsm.mac(keys["hmac"], b"message")
    hsm.sign(keys["ecdsa"], bytes(32))

    adapter.take_away()
    for call in (
        lambda: hsm.unwrap(keys["aes"], wrapped, CONTEXT),
        lambda: hsm.wrap(keys["aes"], secret, CONTEXT),
        lambda: hsm.keys(""),
        lambda: hsm.keys("nothing-like-it"),
        lambda: hsm.create_key("new", KeyKind.AES),
        lambda: hsm.destroy_key(keys["aes"]),
    ):
        with pytest.raises(HsmUnavailableError):
            call()
    with pytest.raises(HsmUnavailableError):
        adapter.open()

    adapter.bring_back()
    assert same_secret(eventually(lambda: hsm.unwrap(keys["aes"], wrapped, CONTEXT)), secret)
    assert same_secret(hsm.mac(keys["hmac"], b"message"), mac)
    assert len(hsm.sign(keys["ecdsa"], bytes(32))) == 64
    assert hsm.keys("") == sorted(keys.values(), key=lambda key: key.label)


@pytest.mark.needs(Can.GO_AWAY)
def test_a_module_whose_only_key_was_used_is_away_and_its_key_not_gone(adapter, hsm):
    key = hsm.create_key("only", KeyKind.AES)
    wrapped = hsm.wrap(key, DataKey.random(), CONTEXT)
    adapter.take_away()
    adapter.lose_session(hsm)

    with pytest.raises(HsmUnavailableError):
        hsm.unwrap(key, wrapped, CONTEXT)
    adapter.bring_back()
    eventually(lambda: hsm.unwrap(key, wrapped, CONTEXT))


@pytest.mark.needs(Can.REOPEN, Can.GO_AWAY)
@pytest.mark.parametrize("call", ["keys", "wrap"])
def test_keys_that_were_never_looked_at_are_not_gone_either(adapter, call):
    first = adapter.open()
    key = first.create_key("key", KeyKind.AES)
    first.close()
    hsm = adapter.open()
    adapter.take_away()

    with pytest.raises(HsmUnavailableError):
        hsm.keys("") if call == "keys" else hsm.wrap(key, DataKey.random(), CONTEXT)
    adapter.bring_back()
    assert eventually(lambda: hsm.keys("")) == [key]


@pytest.mark.needs(Can.GO_AWAY)
def test_tampered_bytes_are_not_blamed_while_the_module_is_away(adapter, hsm, keys):
    wrapped = bytearray(hsm.wrap(keys["aes"], DataKey.random(), CONTEXT))
    wrapped[-1] ^= 1
    adapter.take_away()

    with pytest.raises(HsmUnavailableError):
        hsm.unwrap(keys["aes"], bytes(wrapped), CONTEXT)
    adapter.bring_back()


@pytest.mark.needs(Can.GO_AWAY)
def test_a_module_that_was_never_there_cannot_be_opened_and_then_can(adapter):
    adapter.take_away()
    with pytest.raises(HsmUnavailableError):
        adapter.open()

    adapter.bring_back()
    assert eventually(adapter.open).keys("") == []


@pytest.mark.needs(Can.PIN)
def test_a_wrong_pin_is_refused_and_not_shown(adapter):
    adapter.pin_file.write_text("314159-wrong\n")

    with pytest.raises(HsmRefusedError, match="wrong PIN") as caught:
        adapter.open()
    assert "314159" not in f"{caught.value!r} {caught.value.hint}"
    assert "pin-source" in caught.value.hint


@pytest.mark.needs(Can.PIN)
def test_many_openings_with_a_wrong_pin_do_not_lock_out_the_right_one(adapter):
    right = adapter.pin_file.read_text()
    adapter.pin_file.write_text("314159-wrong\n")
    for _ in range(2):
        with pytest.raises(HsmRefusedError):
            adapter.open()

    adapter.pin_file.write_text(right)
    assert adapter.open().keys("") == []


@pytest.mark.needs(Can.PIN)
@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"1" * 1025], ids=repr)
def test_a_pin_file_that_holds_no_pin_is_a_wrong_request(adapter, content):
    adapter.pin_file.unlink()
    if content is not None:
        adapter.pin_file.write_bytes(content)

    with pytest.raises(RequestError, match="the PIN file") as caught:
        adapter.open()
    assert str(adapter.pin_file) in str(caught.value)


@pytest.mark.needs(Can.PIN)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_line_end_does_not_belong_to_the_pin(adapter, ending):
    adapter.pin_file.write_text(adapter.pin_file.read_text().strip() + ending, newline="")

    assert adapter.open().keys("") == []


@pytest.mark.needs(Can.PIN)
def test_a_pin_file_that_goes_missing_makes_a_module_unavailable_only_when_it_is_needed(adapter, hsm, keys):
    wrapped, pin = hsm.wrap(keys["aes"], DataKey.random(), CONTEXT), adapter.pin_file.read_text()
    adapter.pin_file.unlink()
    hsm.unwrap(keys["aes"], wrapped, CONTEXT)
    adapter.lose_session(hsm)

    with pytest.raises(HsmUnavailableError, match="the PIN file"):
        hsm.unwrap(keys["aes"], wrapped, CONTEXT)
    adapter.pin_file.write_text(pin)
    eventually(lambda: hsm.unwrap(keys["aes"], wrapped, CONTEXT))


@pytest.mark.needs(Can.PIN)
def test_a_pin_that_was_changed_meanwhile_is_refused_until_its_file_is_right_again(adapter, hsm, keys):
    wrapped, pin = hsm.wrap(keys["aes"], DataKey.random(), CONTEXT), adapter.pin_file.read_text()
    adapter.pin_file.write_text("314159-wrong")
    adapter.lose_session(hsm)

    for _ in range(30):
        with pytest.raises(HsmRefusedError, match="wrong PIN"):
            hsm.unwrap(keys["aes"], wrapped, CONTEXT)
        adapter.lose_session(hsm)
    adapter.pin_file.write_text(pin)
    hsm.unwrap(keys["aes"], wrapped, CONTEXT)


def test_a_closed_module_is_refused_and_closing_it_again_does_nothing(hsm, keys):
    hsm.close()
    hsm.close()

    for call in (
        lambda: hsm.keys(""),
        lambda: hsm.create_key("new", KeyKind.AES),
        lambda: hsm.destroy_key(keys["aes"]),
        lambda: hsm.wrap(keys["aes"], DataKey.random(), CONTEXT),
        lambda: hsm.unwrap(keys["aes"], bytes([1]) + bytes(60), CONTEXT),
        lambda: hsm.mac(keys["hmac"], b""),
        lambda: hsm.sign(keys["ecdsa"], bytes(32)),
        lambda: hsm.public_key(keys["ecdsa"]),
    ):
        with pytest.raises(HsmRefusedError, match="closed"):
            call()
    hsm.close()


@pytest.mark.needs(Can.REOPEN)
def test_closing_one_of_two_openings_leaves_the_other_working(adapter, hsm, keys):
    other = adapter.open()
    wrapped = hsm.wrap(keys["aes"], DataKey.random(), CONTEXT)
    hsm.close()

    other.unwrap(keys["aes"], wrapped, CONTEXT)
