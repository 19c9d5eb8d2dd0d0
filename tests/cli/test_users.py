"""`icehouse users`: one, many, and a file of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from executable import Shell, refused


def names(shell) -> list[str]:
    return [user["user"] for user in shell.do("users", "list", "--format", "json").json]


def test_an_empty_vault_lists_nothing(empty):
    empty.do("init")

    assert empty.do("users", "list", "--format", "json").json == []
    assert empty.do("users", "list").out == ""


def test_a_count_of_users_is_made_once(shell):
    first = shell.do("users", "create", "--count", "1500", "--prefix", "u", "--format", "json").json
    again = shell.do("users", "create", "--count", "1501", "--prefix", "u", "--format", "json").json

    assert (first, again) == ({"created": 1500, "existing": 0}, {"created": 1, "existing": 1500})
    assert names(shell)[2:4] == ["u1", "u2"]


BAD = (
    b"\xef\xbb\xbfcarol\r\n\n"
    + b"x" * 256
    + b"\n"
    + b"y" * 10_000
    + b"\nserver\n\xff\ndave\nalice\ncarol\n"
    + "é".encode() * 127
)


def test_of_a_file_the_good_lines_are_made_and_the_bad_ones_are_named(shell):
    (shell.directory / "users").write_bytes(BAD)
    done = shell.run("users", "create", "--from-file", "users", "--format", "json")

    assert done.json == {"created": 3, "existing": 1, "rejected": 6}
    assert done.code == 1
    assert [line.split(":")[3] for line in done.errors] == ["2", "3", "4", "5", "6", "9"]
    assert "this user is on an earlier line already" in done.errors[5]
    assert names(shell) == ["alice", "bob", "carol", "dave", "é" * 127]


def test_a_strict_file_with_a_bad_line_makes_nobody(shell):
    (shell.directory / "users").write_bytes(BAD)
    before = shell.contents()
    done = shell.run("users", "create", "--from-file", "users", "--strict")

    assert (done.code, done.out) == (1, "")
    assert "6 lines of users are bad, so no key was made" in done.errors[-1]
    assert shell.contents() == before


@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_users_may_come_through_a_pipe(shell, strict):
    shell.do("users", "create", "--from-file", "-", *strict, given=b"carol\ndave\n")

    assert names(shell)[2:] == ["carol", "dave"]


def test_an_empty_file_makes_nobody(shell):
    assert shell.do("users", "create", "--from-file", "-", "--format", "json").json["created"] == 0


def test_a_name_does_nothing_to_the_terminal(shell):
    name = "\x1b[2Jevil\u202e\nalice"
    shell.do("users", "create", name)
    table = shell.do("users", "list").out

    assert "\\x1b[2Jevil\\u202e\\nalice" in table
    assert names(shell)[-1] == name


def test_a_name_that_the_terminal_cannot_show_is_spelled_out(shell):
    shell.environment |= {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    shell.do("users", "create", "zoë")

    assert "zo\\xeb" in shell.do("users", "list").out


def test_two_terminals_that_make_the_same_users_both_succeed(shell):
    with ThreadPoolExecutor() as pool:
        made = list(
            pool.map(lambda _: shell.do("users", "create", "--count", "2000", "--format", "json").json, range(3))
        )

    assert sum(one["created"] for one in made) == 2000
    assert {one["created"] + one["existing"] for one in made} == {2000}
    assert shell.do("doctor", "--format", "json").json["users"] == 2002


def test_on_a_full_disk_whole_pages_are_there_or_not(shell):
    full = Shell(shell.directory, shell.environment, ("prlimit", "--fsize=1000000"))
    done = full.run("users", "create", "--count", "20000")

    assert done.code == 2
    assert len(done.errors) == 1
    assert shell.do("doctor", "--format", "json").json["findings"] == []
    assert (len(names(shell)) - 2) % 1024 == 0


def test_a_device_file_that_finds_no_room_is_as_it_was(shell):
    full = Shell(shell.directory, shell.environment, ("prlimit", "--fsize=500"))
    before = (shell.directory / "alice.device").read_bytes()
    done = full.run("rotate", "--device", "alice.device")

    assert done.code == 2
    assert (shell.directory / "alice.device").read_bytes() == before
    assert shell.do("sign", "--text", "x", "--device", "alice.device").code == 0


def test_output_that_finds_no_room_is_an_error(shell):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = shell.run("users", "list", stdout=full)

    assert done.code == 2
    assert "No space left" in done.errors[0]


def test_the_listing_of_a_changed_row_stops_with_its_error(shell):
    shell.sql("UPDATE keys SET suite = 3 WHERE user = 'alice'")
    said = shell.run("users", "list")

    assert said.code == 2
    assert "'alice' does not fit its tags" in said.err
    refused(shell, "show", "bob", "--device", "alice.device")
