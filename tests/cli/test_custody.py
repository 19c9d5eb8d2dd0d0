"""One vault under each custody: the same story by changing one word."""

from __future__ import annotations

import pytest

import icehouse
from executable import all_refused, refused

OPTIONS = {"hybrid": (), "hierarchical": ("--expected-users", "2500"), "direct": ()}


@pytest.mark.parametrize("custody", OPTIONS)
def test_the_story_is_the_same_under_every_custody(empty, custody):
    made = empty.do("init", "--custody", custody, *OPTIONS[custody], "--format", "json").json
    empty.do("users", "create", "alice", "bob")
    empty.do("device", "enrol", "alice", "--device", "a", "--token-file", empty.token("alice"))
    empty.do("sign", "--text", "x", "--device", "a")
    empty.do("rotate", "--device", "a")
    empty.do("sign", "--text", "x", "--device", "a")
    found = empty.do("doctor", "--format", "json").json

    assert (made["custody"], found["custody"], found["findings"]) == (custody, custody, [])
    assert found["buckets"] == made.get("buckets") == (3 if custody == "hierarchical" else None)
    assert {root["state"] for root in found["root_keys"]} == {"current"}
    assert found["vault"] == made["vault"]


def test_what_does_not_fit_a_custody_is_refused(empty):
    said = all_refused(
        empty,
        [
            ("init", "--custody", "other"),
            ("init", "--custody", "direct", "--buckets", "2"),
            ("init", "--expected-users", "2000"),
            ("init", "--custody", "hierarchical", "--buckets", "2", "--expected-users", "2000"),
            ("init", "--custody", "hierarchical", "--buckets", "-1"),
            ("init", "--custody", "hierarchical", "--expected-users", "-1"),
            ("init", "--custody", "hierarchical", "--claim-hsm", "simulated:x?pin-source=file:y"),
        ],
    )

    assert "hybrid, hierarchical, direct" in said[0]


def test_the_settings_say_what_a_rebuilding_needs(empty):
    made = empty.do("init", "--custody", "hierarchical", "--buckets", "7", "--format", "json").json
    text = (empty.vault / "vault.toml").read_text()

    assert text.startswith(f"# vault {made['vault']}\n# founded hierarchical, buckets 7\n")


def test_one_user_more_than_the_module_has_room_for_is_refused_before_anything_is_made(empty):
    (empty.directory / "pin").write_text("123456\n")
    empty.do("init", "--custody", "direct", "--hsm", "simulated:token?pin-source=file:pin&capacity=3")
    empty.do("users", "create", "alice", "bob")

    assert "no room for 1 more" in refused(empty, "users", "create", "carol", code=2)
    assert empty.do("doctor", "--format", "json").json["orphans"] == []


def test_a_key_that_a_killed_creation_left_is_listed_kept_and_used_by_the_next(empty):
    empty.do("init", "--custody", "direct")
    empty.do("users", "create", "alice")
    (empty.directory / "killed.py").write_text(
        "import os, signal, sys\n"
        "from icehouse.cli.main import main\n"
        "from icehouse.hsm.simulated.simulated import SimulatedHsm\n"
        "real = SimulatedHsm.create_key\n"
        "def create_key(self, label, kind):\n"
        "    real(self, label, kind)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "SimulatedHsm.create_key = create_key\n"
        "main()\n"
    )
    empty.script("killed.py", "users", "create", "bob")
    listed = empty.do("doctor", "--format", "json")
    (label,) = listed.json["orphans_kept"]
    kept = empty.do("doctor", "--remove-orphans", "--format", "json").json
    named = empty.run("doctor", "--remove-orphans", "--yes-destroy", label)
    empty.do("users", "create", "bob")
    used = empty.do("doctor", "--format", "json").json

    assert listed.json["orphans"] == []
    assert "no record that opens says whose it is" in listed.err
    assert (kept["orphans_removed"], kept["orphans_kept"]) == ([], [label])
    assert (named.code, "is not to be destroyed" in named.err) == (1, True)
    assert (used["orphans_kept"], used["users"]) == ([], 2)


def test_twelve_names_stand_at_the_top_and_each_is_there():
    assert len(icehouse.__all__) == 12
    assert all(getattr(icehouse, name) for name in icehouse.__all__)
    assert {"DirectFrostService", "HierarchicalFrostService", "HybridFrostService"} <= set(icehouse.__all__)
