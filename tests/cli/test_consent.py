"""Whoever destroys keys inside an HSM on the command line says so: on a terminal, or label by label."""

from __future__ import annotations

import json
import re

import pytest

from cli.test_terminal import Typist
from executable import all_refused, refused
from icehouse.hsm import open_hsm

QUESTION = b"type the first 8 digits of the vault's id: "


@pytest.fixture
def own(empty):
    """A direct vault of alice and bob, who both have a device."""
    made = empty.do("init", "--custody", "direct", "--format", "json").json
    (empty.directory / "id").write_text(made["vault"])
    empty.do("users", "create", "alice", "bob")
    for user in ("alice", "bob"):
        empty.do("device", "enrol", user, "--device", f"{user}.device", "--token-file", empty.token(user))
    return empty


def in_hsm(shell) -> set[str]:
    hsm = open_hsm(f"simulated:{shell.vault}/hsm.token?pin-source=file:{shell.vault}/hsm.pin")
    try:
        return {key.label for key in hsm.keys("icehouse-")}
    finally:
        hsm.close()


def id_of(shell) -> str:
    return re.search('^id = "([0-9a-f]{32})"$', (shell.vault / "vault.toml").read_text(), re.MULTILINE)[1]


def label_of(shell, user: str) -> str:
    """A user's own label, as a refused destruction tells it."""
    said = refused(shell, "users", "destroy", user)
    return re.search("--yes-destroy (icehouse-u-[0-9a-f]{32}-1)$", said, re.MULTILINE)[1]


def test_without_a_terminal_or_a_label_nothing_goes(own):
    said = all_refused(
        own,
        [
            ("users", "destroy", "alice"),
            ("users", "destroy", "alice", "--yes"),
            ("users", "destroy", "alice", "bob", "--yes", "--yes-destroy", label_of(own, "alice")),
            ("users", "destroy", "alice", "--yes-destroy", label_of(own, "bob")),
            ("trim", "--yes-destroy", label_of(own, "alice")),
            ("doctor", "--yes-destroy", label_of(own, "alice")),
        ],
        given=b"y\n" * 100 + id_of(own)[:8].encode() + b"\n",
    )

    assert "opens the key of 'alice' at epoch 1, here and in every backup" in said[0]
    assert all("there is no terminal" in words for words in said[:2])
    assert all("nobody consented" in words for words in said[2:4])
    assert "--void-backups" in said[4]
    assert "--remove-orphans" in said[5]


def test_a_label_that_is_named_goes_with_its_user(own):
    label = label_of(own, "alice")
    done = own.do("users", "destroy", "alice", "--yes-destroy", label, "--format", "json").json

    assert done[0]["state"] == "destroyed"
    assert label not in in_hsm(own)
    own.do("sign", "--text", "x", "--device", "bob.device")


@pytest.mark.parametrize(("typed", "code"), [("right", 0), ("00000000", 1), ("y", 1)])
def test_a_person_types_how_the_vaults_id_begins(own, typed, code):
    before = in_hsm(own)
    typist = Typist(own, "users", "destroy", "alice", "bob")
    typist.until(QUESTION)
    typist.types((id_of(own)[:8] if typed == "right" else typed) + "\n")

    assert typist.ends() == code
    assert id_of(own)[:8].encode() not in typist.seen.partition(QUESTION)[0]
    assert len(before) - len(in_hsm(own)) == (2 if code == 0 else 0)
    assert own.do("show", "alice", "--format", "json").json["state"] == ("destroyed" if code == 0 else "live")


@pytest.mark.parametrize(("typed", "code"), [("right", 0), ("wrong", 1)])
def test_a_trim_shows_what_each_root_key_still_opens_before_it_asks(shell, typed, code):
    shell.do("rewrap")
    before = in_hsm(shell)
    said = shell.run("trim", "--void-backups", given=b"y\n" * 100)
    typist = Typist(shell, "trim", "--void-backups")
    typist.until(QUESTION)
    typist.types((id_of(shell)[:8] if typed == "right" else typed) + "\n")

    assert typist.ends() == code
    assert (said.code, said.err.count("opens data keys in backups from before")) == (1, 2)
    assert len(before) - len(in_hsm(shell)) == (2 if code == 0 else 0)
    shell.do("sign", "--text", "x", "--device", "alice.device")


@pytest.mark.parametrize("state", ["making", "retiring", "retired"])
def test_a_doctor_calls_no_key_an_orphan_that_a_record_opened_under(own, state):
    own.sql(f"UPDATE root_keys SET state = '{state}' WHERE role = 'user'")
    before = in_hsm(own)
    looked = own.run("doctor", "--format", "json")
    labels = json.loads(looked.out)["orphans_kept"]
    removed = own.run("doctor", "--remove-orphans")
    named = own.run("doctor", "--remove-orphans", *[word for label in labels for word in ("--yes-destroy", label)])

    assert (looked.code, removed.code, named.code) == (2, 2, 1)
    assert looked.json["orphans"] == looked.json["orphans_removed"] == []
    assert len(labels) == 2
    assert sum("a record opened under it just now" in finding for finding in looked.json["findings"]) == 2
    assert "no record of this database is under" not in looked.err
    assert in_hsm(own) == before


def test_what_an_interrupted_rewrap_left_is_an_orphan_and_goes_with_consent(shell):
    (shell.directory / "killed.py").write_text(
        "import os, signal\n"
        "from icehouse.cli.main import main\n"
        "from icehouse.hsm.simulated.simulated import SimulatedHsm\n"
        "real = SimulatedHsm.create_key\n"
        "def create_key(self, label, kind):\n"
        "    real(self, label, kind)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "SimulatedHsm.create_key = create_key\n"
        "main()\n"
    )
    shell.script("killed.py", "rewrap")
    label = f"icehouse-{id_of(shell)}-kek-2"
    listed = shell.do("doctor", "--format", "json")
    refusal = shell.run("doctor", "--remove-orphans", given=b"y\n" * 100)
    removed = shell.do("doctor", "--remove-orphans", "--yes-destroy", label, "--format", "json").json

    assert listed.json["orphans"] == [label]
    assert "--remove-orphans" in listed.err
    assert (refusal.code, f"--yes-destroy {label}" in refusal.err) == (1, True)
    assert (removed["orphans"], removed["orphans_removed"]) == ([], [label])
    assert label not in in_hsm(shell)
    shell.do("sign", "--text", "x", "--device", "alice.device")
