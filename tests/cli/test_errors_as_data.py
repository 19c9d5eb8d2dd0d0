"""With `--format json` an error is one object, the last line of standard error, and nothing is on standard output."""

from __future__ import annotations

import json

import pytest

WRONG = [
    (("show", "nobody"), "RequestError", "there is no user 'nobody'"),
    (("users", "code", "nobody"), "RequestError", "there is no user 'nobody'"),
    (("sign", "--device", "no.device", "--text", "x"), "RequestError", "no.device"),
    (("users", "list", "--since", "yesterday"), "RequestError", "ISO 8601"),
    (("plan", "--users", "0"), "RequestError", "users"),
    (("users", "create", "--no-such-option"), "RequestError", "--no-such-option"),
]


def error_of(result):
    """The object in the last line; no other line is about an error."""
    *before, last = result.err.splitlines()
    assert all(line.startswith("icehouse: warning: ") for line in before)
    return json.loads(last)["error"]


@pytest.mark.parametrize(("command", "kind", "words"), WRONG, ids=[" ".join(command) for command, _, _ in WRONG])
@pytest.mark.parametrize("form", [("--format", "json"), ("--format=json",)], ids=["two-words", "one-word"])
def test_an_error_is_one_object_on_standard_error(shell, command, kind, words, form):
    result = shell.run(*command, *form)
    said = error_of(result)

    assert (result.code, result.out) == (1, "")
    assert set(said) == {"class", "message", "hint"}
    assert said["class"] == kind
    assert words in said["message"]


def test_a_failure_of_something_outside_has_its_class_and_its_exit_code(shell):
    (shell.directory / "vault" / "hsm.pin").write_text("another", encoding="utf-8")
    result = shell.run("show", "alice", "--format", "json")

    assert result.code == 2
    assert error_of(result)["class"] == "HsmRefusedError"


def test_several_findings_are_one_object_beside_the_report(shell):
    shell.sql("UPDATE keys SET epoch = epoch + 1")
    result = shell.run("doctor", "--format", "json")

    assert result.code == 2
    assert isinstance(json.loads(result.out), dict)
    assert error_of(result)["message"].count("; ") >= 1


def test_people_are_told_in_lines_as_before(shell):
    result = shell.run("show", "nobody")

    assert result.err.splitlines()[-2:] == [
        "icehouse: error: there is no user 'nobody'",
        "icehouse: hint: create the user first",
    ]


def test_a_signature_that_does_not_verify_is_an_answer(shell):
    good = shell.do("sign", "--text", "x", "--device", "alice.device", "--format", "json").json
    key = shell.do("show", "alice", "--format", "json").json["public_key"]
    verify = ("verify", "--public-key", key, "--signature", good["signature"], "--format", "json")
    valid = shell.do(*verify, "--text", "x")
    invalid = shell.run(*verify, "--text", "y")

    assert valid.json == {"valid": True}
    assert (invalid.code, json.loads(invalid.out), invalid.err) == (1, {"valid": False}, "")
