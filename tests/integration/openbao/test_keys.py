"""Transit keys: how they are made, which are refused, and what becomes of the destroyed."""

from __future__ import annotations

import base64
from contextlib import closing

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmRefusedError, SealError
from icehouse.hsm import HsmKey, KeyKind, open_hsm
from integration.openbao.calls import AUDIT, CALLS, CONTEXT, KEK, MASTER
from servers.openbao import ROOT_TOKEN
from servers.openbao_front import Fault

CALL = {KeyKind.AES: "encrypt", KeyKind.HMAC: "hmac", KeyKind.ECDSA: "sign"}


@pytest.mark.usefixtures("wrapped")
@pytest.mark.parametrize("key", [KEK, MASTER, AUDIT], ids=lambda key: key.label)
def test_a_new_key_can_neither_leave_nor_be_deleted_by_accident(place, key):
    told = place.server.api("GET", f"{place.mount}/keys/{key.label}")["data"]

    for name in ("exportable", "allow_plaintext_backup", "derived", "imported_key", "deletion_allowed"):
        assert told[name] is False
    assert told["latest_version"] == 1
    # The mark of whoever made it, which also is when OpenBao would rotate it.
    assert told["auto_rotate_period"] >= 2**32


def test_a_server_that_says_nothing_of_a_new_key_is_asked_about_it(place, hsm):
    place.front.weather.always = {"create": Fault.WORDLESS}
    key = hsm.create_key("kek", KeyKind.AES)

    CALLS["encrypt"](hsm, b"")
    with pytest.raises(HsmRefusedError, match="already has a key"):
        hsm.create_key("kek", KeyKind.AES)
    assert hsm.keys("") == [key]


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        (KEK, {"type": "aes256-gcm96", "exportable": True}, "its exportable is true"),
        (KEK, {"type": "aes256-gcm96", "allow_plaintext_backup": True}, "its allow_plaintext_backup is true"),
        (KEK, {"type": "aes256-gcm96", "derived": True}, "its derived is true"),
        (KEK, {"type": "aes256-gcm96", "derived": True, "convergent_encryption": True}, "its derived is true"),
        (KEK, {"type": "aes128-gcm96"}, "its type is aes128-gcm96"),
        (KEK, {"type": "chacha20-poly1305"}, "its type is chacha20-poly1305"),
        (KEK, {"type": "hmac", "key_size": 64}, "is of kind hmac; this operation needs kind aes"),
        (MASTER, {"type": "hmac", "key_size": 32}, "it has 32 bytes, not 64"),
        (MASTER, {"type": "aes256-gcm96"}, "is of kind aes; this operation needs kind hmac"),
        (AUDIT, {"type": "ecdsa-p384"}, "its type is ecdsa-p384"),
        (AUDIT, {"type": "ecdsa-p256", "exportable": True}, "its exportable is true"),
    ],
)
def test_a_key_of_another_make_is_refused_for_what_is_wrong_with_it(place, hsm, key, shape, words):
    place.key(key.label, **shape)

    with pytest.raises(HsmRefusedError, match=words):
        CALLS[CALL[key.kind]](hsm, b"")
    assert place.front.count("encrypt", "hmac", "sign") == 0


def test_a_key_that_came_from_outside_is_refused(place, hsm):
    pem = place.server.api("GET", f"{place.mount}/wrapping_key")["data"]["public_key"]
    public, wrapping = serialization.load_pem_public_key(pem.encode()), bytes(32)
    sealed = public.encrypt(wrapping, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    ciphertext = base64.b64encode(sealed + aes_key_wrap_with_padding(wrapping, bytes(range(32)))).decode()
    body = {"type": "aes256-gcm96", "ciphertext": ciphertext, "hash_function": "SHA256"}
    place.server.api("POST", f"{place.mount}/keys/kek/import", body)

    with pytest.raises(HsmRefusedError, match="must not be trusted: its imported_key is true"):
        CALLS["encrypt"](hsm, b"")


def test_a_key_that_became_exportable_is_refused_when_it_is_looked_at_next(place, hsm, wrapped):
    place.configure("kek", exportable=True)
    hsm.unwrap(KEK, wrapped, CONTEXT)

    with closing(open_hsm(place.uri())) as other, pytest.raises(HsmRefusedError, match="its exportable is true"):
        other.unwrap(KEK, wrapped, CONTEXT)


@pytest.mark.parametrize("name", CALLS)
def test_a_soft_deleted_key_is_listed_refused_and_serves_again_when_it_is_restored(place, hsm, wrapped, name):
    label = {"encrypt": "kek", "decrypt": "kek", "hmac": "master"}.get(name, "audit")
    CALLS[name](hsm, wrapped)
    place.server.api("DELETE", f"{place.mount}/keys/{label}/soft-delete")

    with pytest.raises(HsmRefusedError, match=f"the key labelled '{label}' is soft-deleted") as caught:
        CALLS[name](hsm, wrapped)
    assert "soft-delete-restore" in caught.value.hint
    assert label in [key.label for key in hsm.keys("")]
    with pytest.raises(HsmRefusedError, match="already has a key"):
        hsm.create_key(label, KeyKind.AES)
    place.server.api("POST", f"{place.mount}/keys/{label}/soft-delete-restore", {})
    CALLS[name](hsm, wrapped)


def test_a_key_that_openbao_rotated_goes_on_with_its_first_version_until_that_is_forbidden(place, hsm, wrapped):
    mac = hsm.mac(MASTER, b"message")
    for label in ("kek", "master", "audit"):
        place.server.api("POST", f"{place.mount}/keys/{label}/rotate", {})
    assert same_secret(hsm.mac(MASTER, b"message"), mac)
    for call in CALLS.values():
        call(hsm, wrapped)

    place.configure("kek", min_encryption_version=2, min_decryption_version=2)
    for name in ("encrypt", "decrypt"):
        with pytest.raises(HsmRefusedError, match=r"version 1 of the key .* does not serve: its min_\w+ is"):
            CALLS[name](hsm, wrapped)
    place.configure("kek", min_encryption_version=0, min_decryption_version=1)
    hsm.unwrap(KEK, wrapped, CONTEXT)


def test_what_an_older_version_wrapped_is_never_wrapped_anew_by_the_server(place, hsm, wrapped):
    CALLS["encrypt"](hsm, wrapped)

    assert "rewrap" not in place.front.calls


@pytest.mark.usefixtures("wrapped")
@pytest.mark.parametrize("token", ["icehouse's", "root's"])
def test_wrapping_under_a_key_that_is_gone_makes_none(place, token):
    if token == "root's":  # noqa: S105
        place.token_file.write_text(ROOT_TOKEN)
    with closing(open_hsm(place.uri())) as hsm:
        CALLS["encrypt"](hsm, b"")
        place.configure("kek", deletion_allowed=True)
        place.server.api("DELETE", f"{place.mount}/keys/kek")

        with pytest.raises(HsmRefusedError, match="no key labelled 'kek'"):
            CALLS["encrypt"](hsm, b"")
        assert hsm.keys("") == [AUDIT, MASTER]


def test_a_destroyed_key_is_destroyed_at_once_and_another_of_its_label_opens_nothing_of_it(hsm, wrapped):
    destruction = hsm.destroy_key(KEK)

    assert (destruction.done, destruction.recoverable_until) == (True, None)
    hsm.create_key("kek", KeyKind.AES)
    with pytest.raises(SealError, match="does not open"):
        hsm.unwrap(KEK, wrapped, CONTEXT)


def test_keys_of_other_software_are_passed_over_in_the_list(place, hsm):
    for label in ("Upper", "with.dot", "_-_x", "-".join("ab") + "_"):
        place.key(label, type="aes256-gcm96")
    place.key("rsa", type="rsa-2048")
    hsm.create_key("-mine-", KeyKind.AES)

    assert hsm.keys("") == [HsmKey("-mine-", KeyKind.AES)]


def test_the_context_and_the_data_key_are_bound_by_the_server_itself(place, hsm, wrapped):
    """Opened by whoever has the token and speaks to the server directly: only with the context."""
    ciphertext = f"vault:v1:{base64.b64encode(wrapped[1:]).decode()}"
    body = {"ciphertext": ciphertext, "associated_data": base64.b64encode(CONTEXT).decode()}
    opened = place.server.api("POST", f"{place.mount}/decrypt/kek", body)["data"]["plaintext"]

    assert len(base64.b64decode(opened)) == 32
    with pytest.raises(AssertionError, match="message authentication failed"):
        place.server.api("POST", f"{place.mount}/decrypt/kek", {"ciphertext": ciphertext})
    assert hsm.wrap(KEK, DataKey.random(), CONTEXT)[0] == 1
