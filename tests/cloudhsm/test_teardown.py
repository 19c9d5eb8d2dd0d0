"""The deployed state machine, as it was deployed, when nobody is there any more."""

from __future__ import annotations

import json

import pytest

from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.trial_cluster import teardown
from servers.cloudhsm_trial import Killed, killed_at, left, never_touched_others


def killed_after(place, world, action):
    """Bring a run up, and kill its client as soon as this was asked for."""
    number = 0
    while action not in [name for _, name in world.changes]:
        with pytest.raises(Killed):
            place.up(aws=killed_at(number, "after"))
        number += 1


def test_it_deletes_hsms_then_the_cluster_when_the_time_is_over(place, world):
    run = place.up().record.run
    world.advance(2 * 3600)
    world.advance(3600)
    (execution,) = [each for _, each in world.teardowns.executions]

    assert execution.status == "SUCCEEDED"
    assert world.hsm.billed == []
    assert not any(name.startswith("cluster-") for name in left(world))
    assert never_touched_others(world, {run})


@pytest.mark.parametrize("action", ["CreateSchedule", "CreateHsm", "InitializeCluster"])
def test_it_comes_when_the_client_is_gone(place, world, action):
    killed_after(place, world, action)
    world.advance(2 * 3600)
    world.advance(3600)

    assert world.hsm.billed == []
    assert not any(name.startswith("cluster-") for name in left(world))
    assert [each.status for _, each in world.teardowns.executions] == ["SUCCEEDED"]


def test_it_outlasts_an_hsm_that_is_made_while_it_works(place, world):
    place.up()
    cluster = place.record.cluster
    world.advance(place.record.ends_at - world.clock.now + 1)
    world.hsm.create_hsm({"ClusterId": cluster, "AvailabilityZone": "us-east-1a"})
    world.advance(3600)

    assert world.hsm.billed == []
    assert world.teardowns.executions[0][1].status == "SUCCEEDED"


def test_it_outlasts_refusals(place, world):
    place.up()
    answer, refusals = world.hsm.delete_hsm, iter(range(20))

    def refuse(asked):
        if next(refusals, None) is not None:
            raise world.hsm._cluster({"ClusterId": "cluster-none"})
        return answer(asked)

    world.hsm.delete_hsm = refuse
    world.advance(3 * 3600)

    assert world.hsm.billed == []


def test_its_role_can_delete_one_cluster_and_nothing_else(place, world):
    record = place.up().record
    role = world.teardowns.roles[record.name]
    mine = f"arn:aws:cloudhsm:us-east-1:123456789012:cluster/{record.cluster}"

    assert role.allows("cloudhsm:DeleteCluster", mine)
    assert not role.allows("cloudhsm:DeleteCluster", f"{mine}x")
    assert not any(
        role.allows(f"cloudhsm:{name}", mine) for name in ("CreateHsm", "CreateCluster", "InitializeCluster")
    )
    assert not role.allows("iam:DeleteRole", "*")


def test_a_teardown_that_was_changed_is_not_taken_for_armed(place, world):
    record = place.up().record
    key = (record.name, record.name)
    world.teardowns.schedules[key] = {**world.teardowns.schedules[key], "ScheduleExpression": "at(2030-01-01T00:00:00)"}
    world.hsm.clusters[record.cluster].hsms.clear()

    with pytest.raises(Exception, match="is not the one of this run"):
        place.up()
    assert world.hsm.clusters[record.cluster].hsms == []


def test_a_role_that_never_becomes_known_makes_no_hsm(place, world, monkeypatch):
    monkeypatch.setattr("servers.aws_iam.ROLE_KNOWN", 1e9)

    with pytest.raises(HsmUnavailableError, match="not authorized to assume"):
        place.up()
    assert "CreateHsm" not in [name for _, name in world.changes]


def test_a_foreign_role_of_the_same_name_is_not_deleted(place, world):
    record = place.up().record
    world.teardowns.roles[record.name].tags = []
    place.down()

    assert record.name in world.teardowns.roles
    assert world.hsm.billed == []


def test_the_definition_names_its_cluster_and_no_other(place):
    record = place.up().record
    written = json.dumps(teardown.definition(record))

    assert written.count(record.cluster) == written.count("cluster-")


def test_no_more_hsms_than_the_account_may_have(place, world):
    world.hsm.most_hsms = 0

    with pytest.raises(HsmRefusedError, match="ResourceLimitExceeded"):
        place.up()
    place.down()
    assert left(world) == []
