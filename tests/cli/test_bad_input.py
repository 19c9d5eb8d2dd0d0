"""Whatever is wrong with a request: one clear error, the right exit code, nothing changed."""

from __future__ import annotations

import pytest

from executable import PASSPHRASE, Shell, all_refused, refused
from icehouse.device.device import Device
from icehouse.errors import RequestError
from icehouse.service import FrostService

MEBIBYTE = 1 << 20


def test_an_unknown_user_is_named(shell):
    commands = [("show",), ("users", "code"), ("rotate",), ("device", "enrol", "--device", "new.device")]
    said = all_refused(shell, [(*command, "nobody") for command in commands])

    assert all("there is no user 'nobody'" in words for words in said)


def with_token(shell: Shell, token: str) -> None:
    shell.environment["ICEHOUSE_TOKEN"] = token


def test_a_wrong_enrolment_code_leaves_no_device_file(shell):
    token = shell.do("users", "code", "bob").out.strip()
    with_token(shell, token[:-4] + ("0000" if token[-4:] != "0000" else "1111"))
    said = refused(shell, "device", "enrol", "bob", "--device", "bob.device")

    assert "the enrolment code is wrong, used or void" in said
    assert "icehouse: hint: ask the application for a new enrolment code" in said


def test_a_code_is_void_once_another_is_minted(shell):
    with_token(shell, shell.do("users", "code", "bob").out)
    shell.do("users", "code", "bob")
    said = refused(shell, "device", "enrol", "bob", "--device", "bob.device")

    assert "wrong, used or void" in said


def test_a_second_device_cannot_use_the_code_of_the_first(shell):
    with_token(shell, (shell.directory / "alice.token").read_text())
    said = refused(shell, "device", "enrol", "alice", "--device", "second.device")

    assert "wrong, used or void" in said


def test_no_code_is_minted_for_a_user_who_is_enrolled(shell):
    assert "enrolled already" in refused(shell, "users", "code", "alice")


def test_a_token_for_another_users_key_is_refused_before_it_is_used(shell):
    with_token(shell, (shell.directory / "alice.token").read_text())

    assert "not one for the key of 'bob'" in refused(shell, "device", "enrol", "bob", "--device", "bob.device")


def test_a_token_of_the_wrong_form_is_refused(shell):
    key = shell.do("show", "bob", "--format", "json").json["key"]
    bent = ["", "nonsense", key, f"{key}.", f"{key}.abc", f"{key}.{'0' * 66}"]
    for number, token in enumerate(bent):
        (shell.directory / f"{number}.token").write_text(token)
    enrol = ("device", "enrol", "bob", "--device", "bob.device", "--token-file")

    all_refused(shell, [(*enrol, f"{number}.token") for number in range(len(bent))])


def test_a_device_that_is_enrolled_is_not_enrolled_again(shell):
    with_token(shell, (shell.directory / "alice.token").read_text())

    assert "enrolled already" in refused(shell, "device", "enrol", "alice", "--device", "alice.device")


def test_a_device_file_of_another_user_is_not_overwritten(shell):
    said = refused(shell, "device", "enrol", "bob", "--device", "alice.device")

    assert "is the device of 'alice', not of 'bob'" in said


def test_a_device_of_another_vault_is_told_that_its_key_is_unknown(shell, tmp_path):
    other = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "other")})
    other.do("init")
    other.do("users", "create", "alice")
    said = refused(shell, "sign", "--text", "x", "--device", "alice.device", "--vault", other.directory / "other")

    assert "the vault does not know this key" in said


def test_a_shape_other_than_2_of_2_is_refused(shell):
    thresholds = (1, 3, 0, -1)
    said = all_refused(shell, [("users", "create", "carol", "--threshold", number) for number in thresholds])

    for number, words in zip(thresholds, said, strict=True):
        assert f"threshold must be between 2 and the number of participants (2), not {number}" in words


@pytest.mark.parametrize(
    ("threshold", "participants"),
    [
        (2, ["carol"]),
        (2, ["carol", "dave"]),
        (2, ["server", "carol"]),
        (2, ["carol", "carol"]),
        (2, ["carol", "recovery", "server"]),
        (3, ["carol", "recovery", "server"]),
    ],
)
def test_participants_other_than_the_user_and_the_server_are_refused(shell, threshold, participants):
    with FrostService.open(shell.vault) as frost, pytest.raises(RequestError):
        frost.create_keygen_ceremony(threshold, participants)

    with FrostService.open(shell.vault) as frost:
        assert [user.user_id for user in frost.users()] == ["alice", "bob"]


def test_the_same_user_created_again_gets_the_same_answer(shell):
    before = shell.contents()
    first = shell.do("users", "create", "bob", "--format", "json").json
    again = shell.do("users", "create", "bob", "--format", "json").json

    assert first == again
    assert shell.contents() == before


def test_the_same_user_with_another_suite_is_a_conflict(shell):
    said = refused(shell, "users", "create", "bob", "--suite", "p256")

    assert "'bob' has a key of another suite already: ed25519, not p256" in said


def test_a_name_that_breaks_a_rule_is_refused_before_any_key_is_made(shell):
    rules = {
        "": "1 to 255 bytes",
        "x" * 256: "1 to 255 bytes",
        "é" * 128: "1 to 255 bytes",
        "server": "cannot be named 'server'",
        b"\xff\xfe": "valid Unicode",
    }
    said = all_refused(shell, [("users", "create", "carol", name) for name in rules])

    for rule, words in zip(rules.values(), said, strict=True):
        assert rule in words


def test_an_unknown_suite_is_answered_with_the_known_ones(shell):
    said = refused(shell, "users", "create", "carol", "--suite", "rsa")

    assert "suite must be one of ed25519, secp256k1-tr," in said


def test_a_message_of_one_mebibyte_is_signed_and_one_byte_more_is_refused(shell):
    (shell.directory / "big").write_bytes(b"m" * (MEBIBYTE + 1))
    said = refused(shell, "sign", "big", "--device", "alice.device")
    (shell.directory / "big").write_bytes(b"m" * MEBIBYTE)

    assert "at most 1048576 bytes" in said
    assert shell.run("sign", "big", "--device", "alice.device").code == 0


def test_a_message_that_starts_like_a_proof_is_not_signed(shell):
    said = refused(shell, "sign", "-", "--device", "alice.device", given=b"\0\0\0\x10icehouse/v1/proof")

    assert "own proofs" in said


def test_a_wrong_passphrase_is_called_so(shell):
    shell.environment["ICEHOUSE_PASSPHRASE"] = PASSPHRASE[:-1]

    assert "passphrase" in refused(shell, "sign", "--text", "x", "--device", "alice.device")


def test_a_device_file_that_is_none_is_refused(shell):
    contents = [b"", b'{"v":1}', b"age-encryption.org/v1\n", b"\0" * 500]
    for number, content in enumerate(contents):
        (shell.directory / f"{number}.device").write_bytes(content)
        (shell.directory / f".{number}.device.lock").touch()
    commands = [("sign", "--text", "x", "--device", f"{number}.device") for number in range(len(contents))]

    all_refused(shell, commands, code=2)


def test_a_device_that_is_open_elsewhere_is_a_conflict(shell):
    with Device.open(shell.directory / "alice.device", PASSPHRASE):
        said = refused(shell, "rotate", "--device", "alice.device")

    assert "open in another process" in said


def test_a_vault_that_is_missing_is_not_made_by_looking_for_it(empty):
    said = all_refused(empty, [("users", "list"), ("doctor",), ("exchange",), ("show", "alice")])

    assert all("there is no vault at" in words for words in said)
    assert all("icehouse: hint: make one with 'icehouse init'" in words for words in said)


def test_a_vault_whose_database_is_gone_is_not_replaced_by_an_empty_one(shell):
    (shell.vault / "vault.db").unlink()

    assert "holds no vault" in refused(shell, "users", "list")


def test_without_a_vault_the_way_to_name_one_is_said(empty):
    del empty.environment["ICEHOUSE_VAULT"]

    assert "--vault PATH" in refused(empty, "users", "list")


def test_settings_that_cannot_be_read_are_refused(shell):
    bad = [
        b"[store",
        b"\xff",
        b"store = 1",
        b"[store]\nurl = 'sqlite:///x'",
        b"[hsm]\nurl = 'x'",
        b"[limit]\nburst = -1",
    ]
    for number, settings in enumerate(bad):
        (shell.directory / f"{number}.toml").write_bytes(settings)

    all_refused(shell, [("users", "list", "--vault", f"{number}.toml") for number in range(len(bad))])


def test_a_database_that_is_none_is_refused(shell):
    (shell.vault / "vault.db").write_bytes(b"no database " * 1000)

    refused(shell, "users", "list", code=2)


def test_a_directory_that_cannot_be_written_is_named(shell):
    reading = shell.without("dac_override", "dac_read_search", "fowner")
    (shell.vault / "vault.db").chmod(0o400)
    shell.vault.chmod(0o500)
    said = refused(reading, "users", "create", "carol", code=2)
    shell.vault.chmod(0o700)

    assert "icehouse: hint: " in said


def test_a_vault_cannot_be_made_where_nothing_may_be_written(empty):
    writing = empty.without("dac_override", "dac_read_search", "fowner")
    empty.directory.chmod(0o500)
    said = refused(writing, "init")
    empty.directory.chmod(0o700)

    assert "Permission denied" in said


def test_a_device_cannot_be_made_where_nothing_may_be_written(shell):
    (shell.directory / "closed").mkdir(mode=0o500)
    with_token(shell, shell.do("users", "code", "bob").out)
    writing = shell.without("dac_override", "dac_read_search", "fowner")

    assert "cannot be written" in refused(writing, "device", "enrol", "bob", "--device", "closed/bob.device")


NONSENSE = [
    ("unknown",),
    ("users",),
    ("show",),
    ("show", "alice", "--device", "alice.device"),
    ("sign", "--device", "alice.device"),
    ("sign", "a", "b", "--device", "alice.device"),
    ("sign", "--text", "x"),
    ("sign", "missing", "--device", "alice.device"),
    ("sign", ".", "--device", "alice.device"),
    ("sign", "--text", "x", "--device", "missing.device"),
    ("users", "list", "--format", "xml"),
    ("users", "create"),
    ("users", "create", "carol", "--count", "3"),
    ("users", "create", "--count", "0"),
    ("users", "create", "--count", "many"),
    ("users", "create", "--count", "3", "--prefix", "x" * 255),
    ("users", "create", "carol", "--strict"),
    ("users", "create", "--from-file", "missing"),
    ("users", "create", "--from-file", "vault"),
    ("verify", "--text", "x", "--public-key", "zz", "--signature", "00"),
    ("verify", "--text", "x", "--public-key", "00", "--signature", "00"),
    ("sign", "--text", "x", "--device", "alice.device", "--taproot-root", ""),
    ("device", "enrol", "bob", "--device", "bob.device", "--token-file", "missing"),
    ("show", "--device", "alice.device", "--passphrase-file", "missing"),
]


def test_a_command_that_makes_no_sense_ends_with_1(shell):
    all_refused(shell, NONSENSE)


def test_without_a_terminal_nobody_is_asked_for_a_passphrase(shell):
    shell.environment["ICEHOUSE_PASSPHRASE"] = ""

    assert "must not be empty" in refused(shell, "show", "--device", "alice.device")
