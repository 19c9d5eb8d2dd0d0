"""Creation in software and promotion, killed between any two primitives, and called again."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

import pytest

from consenting import orphans_removed, trimmed
from icehouse import Device
from icehouse.model import is_software
from upkeep.scene import check, nothing_left_over

CUSTODIES = pytest.mark.parametrize("custody", ["hybrid", "direct"])
_KILLS = 6


ENROLLED = ("u0", "u1")
PASSPHRASE = "a phrase of words"  # noqa: S105


def sign_all(place, frost):
    """Every device signs, and rotates first where that is due."""
    for user in ENROLLED:
        with Device.open(place.directory / user, PASSPHRASE) as device:
            device.sign(frost, b"hello")


class Copies:
    """A place as it was, again and again: a vault's settings name its files by their full paths."""

    def __init__(self, place) -> None:
        self.place = place
        self.kept = place.directory.with_name(f"{place.directory.name}-kept")
        shutil.copytree(place.directory, self.kept)

    def restore(self) -> None:
        for path in self.place.directory.iterdir():
            with suppress(NotADirectoryError):
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
        shutil.copytree(self.kept, self.place.directory, dirs_exist_ok=True)


def kills(killer, copies, do, **arguments):
    """Some points to kill a verb at, from its first primitive to its last; every run tries the same ones."""
    count = killer.done(do, copies.place.vault, **arguments).points
    assert count > _KILLS
    tried = count if os.environ.get("ICEHOUSE_TEST_EVERY_KILL") else _KILLS
    for at in sorted({1 + step * (count - 1) // (tried - 1) for step in range(tried)}):
        copies.restore()
        outcome = killer.run(do, copies.place.vault, at=at, **arguments)
        assert outcome.killed, outcome
        yield at


@pytest.mark.parametrize("first", ["with an HSM", "without"])
@CUSTODIES
def test_a_promotion_killed_anywhere_is_finished_by_the_next_call(killer, place, custody, first):
    place.found(custody) if first == "with an HSM" else place.found_away(custody)
    with place.without_hsm() as frost:
        frost.create_users(f"u{number}" for number in range(3))
        for user in ENROLLED:
            with Device.create(user, path=place.directory / user, passphrase=PASSPHRASE, work_factor=1) as device:
                device.enrol(frost, frost.enrolment_code(user))

    for _ in kills(killer, Copies(place), "rewrap"):
        with place.open() as frost:
            sign_all(place, frost)  # between the kill and the next call everyone is served
            check(frost, 3)
        killer.done("rewrap", place.vault)
        with place.open() as frost:
            while frost.upkeep.promotable:
                frost.upkeep.rewrap()
            check(frost, 3)
            orphans_removed(frost)
            trimmed(frost)
            sign_all(place, frost)
            check(frost, 3)
            nothing_left_over(frost)
            assert not [key for key in frost.vault.custody.roots.software.keys("icehouse-") if is_software(key.label)]
            assert {shards.origin for shards in frost.users()} == {"software"}
            assert not any(frost.vault.store.key_of(user).due for user in ENROLLED)


@CUSTODIES
def test_a_creation_in_software_killed_anywhere_is_finished_by_the_next_call(killer, place, custody):
    place.found(custody)
    place.leave()

    for _ in kills(killer, Copies(place), "create", users=["a", "b", "c"]):
        killer.done("create", place.vault, users=["a", "b", "c"])
        place.come_back()
        with place.open() as frost:
            assert {shards.origin for shards in frost.users()} == {"software"}
            check(frost, 3)
            frost.upkeep.rewrap()
            orphans_removed(frost)
            trimmed(frost)
            check(frost, 3)
            nothing_left_over(frost)
