"""`icehouse users destroy`, and `users list --since`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from executable import all_refused, refused


def test_a_key_is_removed_at_once_and_destroyed_when_its_root_keys_are(shell):
    removed = shell.do("users", "destroy", "alice", "--yes", "--format", "json").json[0]
    refusal = shell.run("sign", "--text", "x", "--device", "alice.device")
    for command in ("reseal", "trim", "rewrap"):
        shell.do(command)
    shell.void_backups()
    destroyed = shell.do("users", "destroy", "alice", "--yes", "--format", "json").json[0]
    shown = shell.do("show", "alice", "--format", "json").json
    found = shell.do("doctor", "--format", "json").json

    assert removed["state"] == "removed"
    assert removed["waits_for"].startswith("data keys ")
    assert refusal.code == 1
    assert destroyed == {"user": "alice", "state": "destroyed", "waits_for": None, "until": None}
    assert found["removals"] == [destroyed]
    assert shown["state"] == "destroyed"


def test_a_key_that_a_backup_still_opens_is_shown_as_removed_and_not_as_destroyed(shell):
    shell.do("users", "destroy", "alice", "--yes")
    shown = shell.do("show", "alice", "--format", "json").json
    listed = shell.do("users", "list", "--format", "json").json[0]
    table = shell.do("users", "list").out

    assert (shown["state"], listed["state"]) == ("removed", "removed")
    assert " removed " in table
    assert "destroyed" not in table


def test_the_last_change_and_a_rotation_that_is_due_are_shown(shell):
    before = shell.do("show", "alice", "--format", "json").json
    began = datetime.now(UTC).replace(microsecond=0)
    shell.do("rotate", "alice")
    after = shell.do("show", "alice", "--format", "json").json
    listed = shell.do("users", "list", "--format", "json").json[0]

    assert before["due"] is None
    assert began.date().isoformat() <= after["due"] <= datetime.now(UTC).date().isoformat()
    assert began <= datetime.fromisoformat(after["changed"]) <= datetime.now(UTC)
    assert (listed["due"], listed["changed"]) == (after["due"], after["changed"])


def test_a_user_who_was_destroyed_gets_a_key_of_the_next_generation(shell):
    before = shell.do("show", "alice", "--format", "json").json
    shell.do("users", "destroy", "alice", "--yes")
    gone = shell.do("show", "alice", "--format", "json").json
    again = shell.do("users", "create", "alice", "--format", "json").json[0]

    assert (gone["state"], again["state"]) == ("removed", "dealt")
    assert (before["generation"], again["generation"]) == (0, 1)
    assert before["public_key"] != again["public_key"]


def test_nobody_is_removed_without_being_sure(shell):
    said = all_refused(
        shell,
        [
            ("users", "destroy", "alice"),
            ("users", "destroy", "alice", "nobody", "--yes"),
            ("users", "destroy", "server", "--yes"),
            ("users", "destroy", "--yes"),
        ],
    )

    assert "no terminal to ask on" in said[0]
    assert "say so with --yes" in said[0]
    assert "there is no user 'nobody'" in said[1]


def test_a_list_since_a_time_has_only_what_changed(shell):
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    every = shell.do("users", "list", "--since", "2020-01-01T00:00:00Z", "--format", "json").json
    none = shell.do("users", "list", "--since", soon, "--format", "json").json

    assert [entry["user"] for entry in every] == ["alice", "bob"]
    assert none == []


def test_a_list_has_all_that_a_rebuilding_needs(shell):
    alice, bob = shell.do("users", "list", "--format", "json").json

    assert list(alice) == [
        "user", "key", "suite", "generation", "threshold", "participants",
        "epoch", "next_epoch", "offer_id", "state", "public_key", "due", "changed",
    ]  # fmt: skip
    assert (alice["epoch"], alice["next_epoch"], len(alice["offer_id"])) == (1, 2, 32)
    assert (bob["epoch"], bob["offer_id"]) == (0, None)


def test_a_time_that_is_none_is_refused(shell):
    for text in ("yesterday", "2026-13-01", "", "9999999999999"):
        assert "ISO 8601" in refused(shell, "users", "list", "--since", text)


def test_a_row_that_names_a_data_key_of_nobody_is_removed_by_no_lie(shell):
    shell.sql("UPDATE keys SET data_key = 999 WHERE user = 'alice'")
    said = refused(shell, "users", "destroy", "alice", "--yes", code=2)

    assert "data key 999" in said


def test_a_tombstone_whose_data_keys_are_hidden_is_not_called_destroyed(shell):
    shell.do("users", "destroy", "alice", "--yes")
    shell.sql("DELETE FROM removals")
    again = shell.do("users", "destroy", "alice", "--yes", "--format", "json").json[0]

    assert again["state"] == "removed"
    assert "does not name its data keys" in again["waits_for"]
