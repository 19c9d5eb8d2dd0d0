"""Moves that cannot be made: a clear error, nothing changed, and the same command finishes later."""

from __future__ import annotations

from threading import Thread

import pytest

from consenting import orphans_removed, trimmed
from icehouse.errors import ConflictError, HsmError, IcehouseError, RequestError
from icehouse.store import root_keys
from icehouse.upkeep.move_hsm import move, settle
from icehouse.vault import settings
from upkeep.scene import check, keys_in, second_token

USERS = 6


@pytest.fixture(params=["hybrid", "direct"])
def scene(request, new_scene):
    return new_scene(request.param, USERS)


def own_uri(scene):
    """The HSM's URI as the vault's file has it."""
    return settings.read(scene.directory / "vault.toml").hsm_uri


def state(scene):
    """The settings, and what the vault's keys are, apart from those that were announced only."""
    with scene.open() as frost:
        roots = root_keys.states(frost.vault.store.database)
        return (scene.directory / "vault.toml").read_text(), {label for label in roots if roots[label] != "making"}


def refused(scene, uri, error, match):
    """A move is refused, changes nothing, and everyone is served."""
    before = state(scene)
    with pytest.raises(error, match=match):
        move(scene.directory, uri)
    assert state(scene) == before
    scene.rotate_all(scene.open())


def finishes(scene, uri):
    """The same command finishes."""
    move(scene.directory, uri)
    frost = scene.open()
    trimmed(frost)
    orphans_removed(frost)
    settle(scene.directory)
    (scene.directory / "hsm.token").unlink()
    frost = scene.open()
    check(frost, USERS)
    scene.rotate_all(frost)
    assert "former" not in (scene.directory / "vault.toml").read_text()


def test_a_move_to_the_hsm_where_the_keys_are_is_refused(scene):
    refused(scene, own_uri(scene), RequestError, "in that HSM already")
    refused(scene, f"{own_uri(scene)}&latency=0.0", RequestError, "in that HSM already")


def test_a_move_to_an_hsm_that_cannot_be_reached_is_refused(scene):
    uri = second_token(scene.directory)
    (scene.directory / "second.token").rename(scene.directory / "away")
    refused(scene, uri, IcehouseError, "cannot be reached")

    (scene.directory / "away").rename(scene.directory / "second.token")
    finishes(scene, uri)


def test_a_move_to_an_hsm_without_room_is_refused_before_anything_is_made(scene):
    uri = second_token(scene.directory)
    refused(scene, f"{uri}&capacity=1", HsmError, "there is no room for")
    move(scene.directory, uri)

    assert len(keys_in(scene.open())) > 1
    check(scene.open(), USERS)


@pytest.mark.parametrize("number", range(3, 8))
def test_a_move_to_an_hsm_that_refuses_an_operation_is_finished_by_the_same_command(new_scene, number):
    scene = new_scene("hybrid", USERS)
    uri = second_token(scene.directory)
    before = state(scene)
    try:
        move(scene.directory, f"{uri}&fault={number}:refused")
    except HsmError:
        assert state(scene) == before
    finishes(scene, uri) if state(scene) == before else check(scene.open(), USERS)


def test_a_second_move_to_another_hsm_waits_for_the_first(killer, scene):
    uri = second_token(scene.directory)
    count = killer.done("move", scene.copy("measured"), uri=uri).points
    killer.run("move", scene.directory, uri=uri, at=count - 6)
    refused(scene, "simulated:third.token?pin-source=file:second.pin", ConflictError, "being moved to another HSM")

    finishes(scene, uri)


def test_the_same_move_twice_at_once_ends_well(scene):
    uri = second_token(scene.directory)
    errors = []

    def run():
        try:
            move(scene.directory, uri)
        except IcehouseError as exc:
            errors.append(exc)

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(isinstance(error, ConflictError) for error in errors), errors
    finishes(scene, uri)


def test_a_move_under_an_environment_that_overrides_the_settings_is_refused(scene, monkeypatch):
    uri = second_token(scene.directory)
    monkeypatch.setenv("ICEHOUSE_HSM__URI", f"{settings.load(scene.directory).hsm_uri}&latency=0.0")
    refused(scene, uri, RequestError, "ICEHOUSE_HSM__URI overrides")

    monkeypatch.delenv("ICEHOUSE_HSM__URI")
    finishes(scene, uri)


def test_the_former_hsm_is_not_forgotten_while_keys_are_in_it(killer, scene):
    uri = second_token(scene.directory)
    killer.done("move", scene.directory, uri=uri)
    with pytest.raises(ConflictError, match="still needs"):
        settle(scene.directory)

    finishes(scene, uri)


def test_a_hierarchical_vault_does_not_move(new_scene):
    scene = new_scene("hierarchical", USERS)
    refused(scene, second_token(scene.directory), RequestError, "cannot move its master")
