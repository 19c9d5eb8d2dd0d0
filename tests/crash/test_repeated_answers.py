"""What is answered again is durable first, whoever wrote it: a killed writer leaves a commit that nobody synced."""

from __future__ import annotations

import os

import pytest

from icehouse.files import durable_file
from tamper.attacker import reason_of
from tamper.world import World


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path).bring_to("live")
    yield made
    made.close()


@pytest.fixture
def synced(monkeypatch):
    """The names of the files that were synced by us."""
    names, real = [], os.fsync

    def fsync(descriptor):
        names.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH115, PTH119
        real(descriptor)

    monkeypatch.setattr(durable_file.os, "fsync", fsync)
    return names


def test_a_repeated_proof_is_answered_once_the_journal_is_synced(world, synced):
    alice = world.devices["alice"]
    alice.prepare()
    alice.accept_offer(world.say(alice.ask()))
    world.prove(alice)
    proof = alice.ask_commit()
    first = reason_of(world.say(proof))
    before = list(synced)
    again = reason_of(world.say(proof))

    assert (first, again) == ("committed", "committed")
    assert "vault.db-wal" not in before  # SQLite synced its own commit
    assert "vault.db-wal" in synced


def test_a_repeated_abandonment_is_answered_once_the_journal_is_synced(world, synced):
    alice = world.devices["alice"]
    alice.prepare()
    alice.accept_offer(world.say(alice.ask()))
    abandon = alice.ask_abandon()
    first = reason_of(world.say(abandon))
    synced.clear()
    again = reason_of(world.say(abandon))

    assert (first, again) == ("abandoned", "abandoned")
    assert "vault.db-wal" in synced


def test_an_offer_is_repeated_once_the_journal_is_synced(world, synced):
    alice = world.devices["alice"]
    alice.prepare()
    question = alice.ask()
    first = world.say(question)
    synced.clear()
    again = world.say(question)

    assert first == again
    assert "vault.db-wal" in synced
