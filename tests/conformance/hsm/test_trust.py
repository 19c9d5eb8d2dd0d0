"""A key protects only what it was made for: it was made inside, cannot leave, and the module says so."""

from __future__ import annotations

import os

import pytest

from conformance.hsm.adapters import Can
from icehouse._core import DataKey
from icehouse.errors import HsmRefusedError
from icehouse.hsm import HsmKey, KeyKind

CONTEXT = bytes(32)


@pytest.mark.needs(Can.TELL_ATTRIBUTES)
@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_new_key_was_made_inside_and_cannot_leave(hsm, kind):
    hsm.create_key("key", kind)
    told = hsm.attributes("key")

    for name in ("CKA_TOKEN", "CKA_PRIVATE", "CKA_SENSITIVE", "CKA_NEVER_EXTRACTABLE", "CKA_LOCAL"):
        assert told[name] is True
    assert told["CKA_EXTRACTABLE"] is False
    for name in ("CKA_WRAP", "CKA_UNWRAP", "CKA_DERIVE"):
        assert told.get(name, False) is False


@pytest.mark.needs(Can.TELL_ATTRIBUTES)
def test_a_uri_that_names_a_key_opens_only_a_module_that_has_it(adapter):
    uri = adapter.uri.replace("?", ";object=key?")
    with pytest.raises(HsmRefusedError, match="no key labelled 'key'"):
        adapter.open(uri)

    key = adapter.open().create_key("key", KeyKind.AES)
    assert adapter.open(uri).keys("") == [key]


def refused(hsm, kind: KeyKind, words: str) -> None:
    key = HsmKey("planted", kind)
    calls = {
        KeyKind.AES: [lambda: hsm.wrap(key, DataKey.random(), CONTEXT), lambda: hsm.unwrap(key, b"\1" * 61, CONTEXT)],
        KeyKind.HMAC: [lambda: hsm.mac(key, b"message")],
        KeyKind.ECDSA: [lambda: hsm.sign(key, bytes(32)), lambda: hsm.public_key(key)],
    }
    for call in calls[kind]:
        with pytest.raises(HsmRefusedError, match=words):
            call()


@pytest.mark.needs(Can.FOREIGN_KEYS)
@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        (("--private", "--sensitive", "--extractable"), "CKA_EXTRACTABLE is true"),
        (("--sensitive",), "CKA_PRIVATE is false"),
        (("--private",), "CKA_SENSITIVE is false"),
        (("--private", "--sensitive", "--usage-wrap", "--usage-decrypt"), "CKA_WRAP is true"),
    ],
)
def test_a_key_that_somebody_planted_is_refused_for_what_is_wrong_with_it(adapter, options, attribute):
    hsm = adapter.open()
    adapter.foreign_key("planted", *options)

    refused(hsm, KeyKind.AES, attribute)


@pytest.mark.needs(Can.FOREIGN_KEYS)
def test_a_key_that_came_from_outside_is_refused(adapter, tmp_path):
    hsm = adapter.open()
    (tmp_path / "key").write_bytes(os.urandom(32))
    options = ("--type", "secrkey", "--key-type", "AES:", "--private", "--sensitive", "--label", "planted")
    adapter.tool("--write-object", str(tmp_path / "key"), *options)

    refused(hsm, KeyKind.AES, "must not be trusted: its CKA_(NEVER_EXTRACTABLE|LOCAL) is false")


@pytest.mark.needs(Can.FOREIGN_KEYS)
def test_a_key_pair_without_its_public_half_is_refused_and_can_be_destroyed(adapter):
    hsm = adapter.open()
    key = hsm.create_key("key", KeyKind.ECDSA)
    other = hsm.create_key("other", KeyKind.AES)
    adapter.tool("--delete-object", "--type", "pubkey", "--label", "key")

    with pytest.raises(HsmRefusedError, match="'key' has no public half"):
        hsm.sign(key, bytes(32))
    hsm.destroy_key(key)
    assert hsm.keys("") == [other]


@pytest.mark.needs(Can.FOREIGN_KEYS)
def test_a_public_half_that_is_not_the_private_ones_is_refused(adapter):
    hsm = adapter.open()
    key = hsm.create_key("key", KeyKind.ECDSA)
    adapter.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "theirs")
    adapter.tool("--delete-object", "--type", "pubkey", "--label", "key")
    exported = adapter.directory / "theirs.der"
    adapter.tool("--read-object", "--type", "pubkey", "--label", "theirs", "--output-file", str(exported))
    adapter.tool("--write-object", str(exported), "--type", "pubkey", "--label", "key")

    with pytest.raises(HsmRefusedError, match="gives other answers than the standard"):
        hsm.sign(key, bytes(32))


@pytest.mark.needs(Can.FOREIGN_KEYS)
def test_a_planted_key_can_be_destroyed(adapter):
    hsm = adapter.open()
    stays = hsm.create_key("stays", KeyKind.AES)
    adapter.foreign_key("planted")
    hsm.destroy_key(HsmKey("planted", KeyKind.AES))

    assert hsm.keys("") == [stays]


@pytest.mark.needs(Can.FOREIGN_KEYS)
def test_a_refused_pin_is_not_tried_again_before_its_file_is_written_anew(adapter):
    hsm = adapter.open()
    key = hsm.create_key("key", KeyKind.AES)
    adapter.lose_session(hsm)
    right = adapter.pin_file.read_text()
    adapter.pin_file.write_text(right[::-1].strip() + "\n")
    before = adapter.pin_file.stat()
    with pytest.raises(HsmRefusedError, match="wrong PIN"):
        hsm.wrap(key, DataKey.random(), CONTEXT)

    # Were the file tried again, its PIN would be right now.
    adapter.pin_file.write_text(right)
    os.utime(adapter.pin_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(HsmRefusedError, match="wrong PIN"):
        hsm.wrap(key, DataKey.random(), CONTEXT)
    adapter.pin_file.write_text(right)
    hsm.wrap(key, DataKey.random(), CONTEXT)


def test_no_part_of_a_module_gives_key_material_away(hsm):
    names = [name.lower() for name in dir(hsm) + dir(hsm.info)]

    assert not any(word in name for name in names for word in ("export", "secret", "private", "value"))
