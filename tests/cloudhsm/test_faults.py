"""Faults by schedule: whatever request fails, in whichever way, a run comes up once and goes down whole."""

from __future__ import annotations

import random

import pytest

from icehouse.errors import HsmUnavailableError
from servers.cloudhsm_trial import left, never_touched_others

KINDS = ("throttle", "broken", "deaf", "mute")


def course(place, world):
    run = place.up().record.run
    up = [name for _, name in world.changes]
    hsms = len(world.hsm.billed)
    place.down()
    return run, up, hsms


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fault_in_every_fifth_request_changes_nothing(place, world, kind, seed):
    chance = random.Random(seed)
    world.tick = 60
    world.faults = {number: kind for number in range(2000) if chance.random() < 1 / 5}
    run, up, hsms = course(place.with_a_key(), world)

    assert hsms == 2
    assert left(world) == []
    assert never_touched_others(world, {run})
    assert len({each.cluster for each in world.hsm.clusters.values() if each.tags.get("icehouse-cloudhsm-run") == run}) <= 1
    assert up.index("CreateSchedule") < up.index("CreateHsm")


@pytest.mark.parametrize("kind", KINDS)
def test_an_aws_that_stays_away_is_an_error_to_repeat(place, world, kind):
    world.tick = 60
    world.faults = dict.fromkeys(range(1, 2000), kind)
    with pytest.raises(HsmUnavailableError) as refused:
        place.with_a_key().up()

    assert "repeat" in refused.value.hint
    world.faults = {}
    place.up()
    place.down()
    assert left(world) == []
