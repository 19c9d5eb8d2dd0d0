"""Keys inside a module: made, listed, told apart, destroyed."""

from __future__ import annotations

import pytest

from conformance.hsm.adapters import Can
from icehouse._core import DataKey
from icehouse.errors import HsmRefusedError, HsmUnavailableError, RequestError, SealError
from icehouse.hsm import HsmKey, KeyKind

CONTEXT = bytes(32)
KINDS = list(KeyKind)


def use(hsm, key, kind):
    """The operation that keys of a kind are for."""
    match kind:
        case KeyKind.AES:
            return hsm.wrap(key, DataKey.random(), CONTEXT)
        case KeyKind.HMAC:
            return hsm.mac(key, b"message")
        case KeyKind.ECDSA:
            return hsm.sign(key, bytes(32))


def test_a_module_says_what_it_is(hsm):
    assert hsm.info.provider
    assert hsm.info.model
    assert hsm.info.attested is False
    assert hsm.info.capabilities == frozenset(KeyKind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_key_has_the_label_and_kind_asked_for_and_works(hsm, kind):
    key = hsm.create_key("icehouse-0a-kek-1", kind)

    assert key == HsmKey("icehouse-0a-kek-1", kind)
    assert hsm.keys("") == [key]
    use(hsm, key, kind)


@pytest.mark.parametrize("label", ["a" * 63, "0", "-", "icehouse-u-00ff-1"])
def test_a_label_of_1_to_63_letters_digits_and_hyphens_is_taken(hsm, label):
    hsm.create_key(label, KeyKind.AES)

    assert [key.label for key in hsm.keys(label)] == [label]


@pytest.mark.parametrize("label", ["", "a" * 64, "A", "a_b", "a b", "ä", "a\n", "a/b", "a\0"])
def test_any_other_label_is_a_wrong_request(hsm, label):
    with pytest.raises(RequestError, match="a key label must be"):
        hsm.create_key(label, KeyKind.AES)

    assert hsm.keys("") == []
    assert hsm.operations.by_kind()["create_key"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_that_exists_is_refused_for_every_kind_and_the_first_key_stays(hsm, kind):
    first = hsm.create_key("twice", KeyKind.AES)
    wrapped = hsm.wrap(first, DataKey.random(), CONTEXT)

    with pytest.raises(HsmRefusedError, match="already has a key labelled 'twice'"):
        hsm.create_key("twice", kind)
    hsm.unwrap(first, wrapped, CONTEXT)
    assert hsm.keys("") == [first]


def test_keys_are_found_by_prefix_in_the_order_of_their_labels(hsm):
    for label, kind in (("b-2", KeyKind.AES), ("a-1", KeyKind.HMAC), ("b-1", KeyKind.ECDSA), ("c", KeyKind.AES)):
        hsm.create_key(label, kind)

    assert [key.label for key in hsm.keys("")] == ["a-1", "b-1", "b-2", "c"]
    assert hsm.keys("b-") == [HsmKey("b-1", KeyKind.ECDSA), HsmKey("b-2", KeyKind.AES)]
    assert hsm.keys("b-1x") == []
    assert hsm.keys("%") == []


def test_no_key_is_found_where_there_is_none(hsm):
    assert hsm.keys("") == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_without_a_key_is_refused(hsm, kind):
    hsm.create_key("other", kind)
    use(hsm, HsmKey("other", kind), kind)

    with pytest.raises(HsmRefusedError, match="no key labelled 'missing'"):
        use(hsm, HsmKey("missing", kind), kind)


@pytest.mark.parametrize("made", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
def test_a_key_does_only_what_its_kind_does(hsm, made, wanted):
    key = hsm.create_key("key", made)
    if made == wanted:
        use(hsm, key, wanted)
        return

    with pytest.raises(HsmRefusedError, match=f"is of kind {made}; this operation needs kind {wanted}"):
        use(hsm, HsmKey("key", wanted), wanted)
    use(hsm, key, made)


def test_a_key_of_another_kind_has_no_public_key(hsm):
    key = hsm.create_key("key", KeyKind.HMAC)

    with pytest.raises(HsmRefusedError, match="kind"):
        hsm.public_key(key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_destroyed_key_is_gone_and_its_label_free(hsm, kind):
    hsm.create_key("stays", kind)
    key = hsm.create_key("goes", kind)
    use(hsm, key, kind)
    before = hsm.public_key(key) if kind is KeyKind.ECDSA else None

    destruction = hsm.destroy_key(key)
    assert destruction.done or destruction.recoverable_until
    assert [key.label for key in hsm.keys("")] == ["stays"]
    with pytest.raises(HsmRefusedError, match="no key labelled 'goes'"):
        use(hsm, key, kind)
    use(hsm, hsm.create_key("goes", kind), kind)
    if before:
        assert hsm.public_key(key) != before


def test_what_a_destroyed_key_wrapped_stays_shut_under_a_new_one_of_its_label(hsm):
    key = hsm.create_key("key", KeyKind.AES)
    wrapped = hsm.wrap(key, DataKey.random(), CONTEXT)
    hsm.create_key("other", KeyKind.AES)
    hsm.destroy_key(key)
    hsm.create_key("key", KeyKind.AES)

    # A service that keeps the destroyed version for a while names its state instead: nobody changed the bytes.
    with pytest.raises((SealError, HsmRefusedError), match="does not open"):
        hsm.unwrap(key, wrapped, CONTEXT)


def test_a_key_is_not_destroyed_as_one_of_another_kind(hsm):
    key = hsm.create_key("key", KeyKind.AES)

    with pytest.raises(HsmRefusedError, match="kind"):
        hsm.destroy_key(HsmKey("key", KeyKind.HMAC))
    assert hsm.keys("") == [key]


def test_a_key_that_is_not_there_is_not_destroyed(hsm):
    hsm.create_key("other", KeyKind.AES)

    with pytest.raises(HsmRefusedError, match="no key labelled 'key'"):
        hsm.destroy_key(HsmKey("key", KeyKind.AES))


@pytest.mark.needs(Can.REOPEN)
@pytest.mark.parametrize("kind", KINDS)
def test_keys_outlive_whoever_opened_the_module(adapter, kind):
    first = adapter.open()
    key = first.create_key("key", kind)
    first.close()

    assert adapter.open().keys("") == [key]
    use(adapter.open(), key, kind)


@pytest.mark.needs(Can.REOPEN)
def test_a_key_that_another_made_is_there_and_one_that_another_destroyed_is_not(adapter):
    one, other = adapter.open(), adapter.open()
    key, stays = one.create_key("key", KeyKind.AES), one.create_key("stays", KeyKind.AES)
    other.unwrap(key, one.wrap(key, DataKey.random(), CONTEXT), CONTEXT)
    other.wrap(stays, DataKey.random(), CONTEXT)
    one.destroy_key(key)

    with pytest.raises((HsmRefusedError, HsmUnavailableError)):
        other.wrap(key, DataKey.random(), CONTEXT)
    assert other.keys("") == [stays]


@pytest.mark.needs(Can.FILL_UP)
def test_a_full_module_refuses_another_key_and_has_room_again_after_a_destruction(adapter):
    hsm = adapter.full_after(2)
    key = hsm.create_key("a", KeyKind.AES)
    hsm.create_key("b", KeyKind.HMAC)

    with pytest.raises(HsmRefusedError, match="full"):
        hsm.create_key("c", KeyKind.AES)
    assert hsm.info.capacity == 2
    assert [key.label for key in hsm.keys("")] == ["a", "b"]
    hsm.destroy_key(key)
    hsm.create_key("c", KeyKind.AES)


@pytest.mark.needs(Can.FOREIGN_KEYS)
def test_two_keys_of_one_label_are_an_error_for_every_use_of_it(adapter):
    hsm = adapter.open()
    key = hsm.create_key("key", KeyKind.AES)
    adapter.foreign_key("key", "--sensitive")

    for call in (
        lambda: hsm.wrap(key, DataKey.random(), CONTEXT),
        lambda: hsm.unwrap(key, bytes([1]) * 61, CONTEXT),
        lambda: hsm.destroy_key(key),
    ):
        with pytest.raises(HsmRefusedError, match="2 keys are labelled 'key'; exactly one must be"):
            call()
    with pytest.raises(HsmRefusedError, match="already has a key"):
        hsm.create_key("key", KeyKind.AES)


@pytest.mark.needs(Can.FOREIGN_KEYS)
def test_keys_that_are_not_icehouses_are_passed_over_in_the_list(adapter):
    hsm = adapter.open()
    key = hsm.create_key("mine", KeyKind.AES)
    adapter.foreign_key("Somebody Else's", "--sensitive")

    assert hsm.keys("") == [key]
