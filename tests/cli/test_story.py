"""From nothing to a user's signature, by the real executable."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def test_a_vault_is_made_and_its_user_signs_and_rotates_and_signs(empty):
    made = empty.do("init", "--format", "json").json
    user = empty.do("users", "create", "carol", "--format", "json").json[0]
    enrolled = empty.do(
        "device", "enrol", "carol", "--device", "c", "--token-file", empty.token("carol"), "--format", "json"
    ).json
    signed = empty.do("sign", "-", "--device", "c", "--format", "json", given=b"hello").json
    rotated = empty.do("rotate", "--device", "c", "--format", "json").json
    again = empty.do("sign", "--text", "hello", "--device", "c").out.strip()

    assert len(bytes.fromhex(made["vault"])) == 16
    assert (user["state"], enrolled["epoch"], rotated["epoch"]) == ("dealt", 1, 2)
    assert {user["public_key"], enrolled["public_key"], rotated["public_key"]} == {user["public_key"]}
    assert signed | {"signature": ""} == {"user": "carol", "key": user["key"], "epoch": 1, "signature": ""}
    for signature in (signed["signature"], again):
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(user["public_key"])).verify(bytes.fromhex(signature), b"hello")


def test_a_message_is_signed_from_a_file_and_verified_with_public_facts_alone(shell):
    (shell.directory / "message").write_bytes(bytes(range(256)))
    signature = shell.do("sign", "message", "--device", "alice.device").out.strip()
    public_key = shell.do("show", "alice", "--format", "json").json["public_key"]
    facts = ("--suite", "ed25519", "--public-key", public_key, "--signature", signature)
    del shell.environment["ICEHOUSE_VAULT"]

    assert shell.do("verify", "message", *facts, "--format", "json").json == {"valid": True}
    assert shell.run("verify", "--text", "other", *facts).code == 1


def test_a_taproot_signature_verifies_with_its_tweak_only(shell):
    shell.do("users", "create", "tess", "--suite", "secp256k1-tr")
    shell.do("device", "enrol", "tess", "--device", "t", "--token-file", shell.token("tess"))
    public_key = shell.do("show", "tess", "--format", "json").json["public_key"]
    signature = shell.do("sign", "--text", "coin", "--device", "t", "--taproot-root", "").out.strip()
    facts = ("--text", "coin", "--suite", "secp256k1-tr", "--public-key", public_key, "--signature", signature)

    assert shell.run("verify", *facts, "--taproot-root", "").code == 0
    assert shell.run("verify", *facts).code == 1


def test_a_rotation_marked_due_is_done_when_the_device_signs(shell):
    shell.do("rotate", "alice")
    signed = shell.do("sign", "--text", "x", "--device", "alice.device", "--format", "json").json

    assert signed["epoch"] == 2


def test_the_old_copy_of_a_device_file_is_refused_after_a_rotation(shell):
    old = shell.directory / "old.device"
    old.write_bytes((shell.directory / "alice.device").read_bytes())
    shell.do("rotate", "--device", "alice.device")
    done = shell.run("sign", "--text", "x", "--device", old)

    assert done.code == 1
    assert "does not know epoch 1" in done.err


def test_a_code_is_printed_as_user_key_and_token(shell):
    code = shell.do("users", "code", "bob", "--format", "json").json
    key = shell.do("show", "bob", "--format", "json").json["key"]

    assert list(code) == ["user", "key", "token"]
    assert (code["user"], code["key"]) == ("bob", key)
    assert code["token"].startswith(f"{key}.")


def test_without_json_the_token_and_the_signature_stand_alone(shell):
    token = shell.do("users", "code", "bob").out
    signature = shell.do("sign", "--text", "x", "--device", "alice.device").out

    assert len(token.strip()) == 32 + 1 + 64
    assert len(signature.strip()) == 128


def test_the_device_shows_its_public_facts_without_the_vault(shell):
    del shell.environment["ICEHOUSE_VAULT"]
    facts = shell.do("show", "--device", "alice.device", "--format", "json").json

    assert (facts["user"], facts["epoch"], facts["pending_epoch"]) == ("alice", 1, None)


def test_secrets_come_from_files_as_well_as_the_environment(shell):
    (shell.directory / "pass").write_text("another passphrase\n")
    token = shell.do("users", "code", "bob").out.strip()
    del shell.environment["ICEHOUSE_VAULT"]
    shell.environment["ICEHOUSE_TOKEN"] = token
    place = ("--vault", "vault", "--device", "b", "--passphrase-file", "pass")
    shell.do("device", "enrol", "bob", *place)
    shell.do("sign", "--text", "x", *place)

    assert shell.run("sign", "--text", "x", "--vault", "vault", "--device", "b").code == 1


def test_the_vault_may_be_named_by_its_settings_file(shell):
    shell.environment["ICEHOUSE_VAULT"] = str(shell.vault / "vault.toml")

    assert "alice" in shell.do("users", "list").out


def test_what_is_made_is_its_owners_alone(shell):
    shell.do("users", "create", "carol")
    files = [path for path in shell.directory.rglob("*") if path.is_file() and path.suffix != ".token"]

    assert {path.stat().st_mode & 0o077 for path in files} == {0}
