"""The teardown: every part of it is looked at, its role is for this run's own machine, and it does not tire."""

from __future__ import annotations

import json

import pytest

from icehouse.trial_cluster import teardown
from icehouse.trial_cluster.armed import faults, look
from servers import asl
from servers.aws import ACCOUNT, OTHER_ACCOUNT
from servers.aws_clock import ApiError
from servers.cloudhsm_trial import Direct, left


@pytest.fixture
def run(place, world):
    place.with_a_key().up(aws=Direct(world))
    return place


def machine(world, record):
    return world.teardowns.machines[f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{record.name}"]


def drop_role(world, record):
    del world.iam.roles[record.name]


def drop_policy(world, record):
    world.iam.roles[record.name].policies.clear()


def weaken_policy(world, record):
    world.iam.roles[record.name].policies["teardown"]["Statement"].pop(0)


def change_trust(world, record):
    world.iam.roles[record.name].trust["Statement"].pop()


def drop_machine(world, record):
    world.teardowns.machines.pop(f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{record.name}")


def change_machine(world, record):
    machine(world, record).definition = json.dumps({"StartAt": "x", "States": {"x": {"Type": "Succeed"}}})


def drop_schedule(world, record):
    del world.teardowns.schedules[record.name, record.name]


def bend_schedule(**changes):
    def bend(world, record):
        key = record.name, record.name
        world.teardowns.schedules[key] = {**world.teardowns.schedules[key], **changes}

    return bend


DAMAGES = {
    "its role is gone": drop_role,
    "its role may do other": drop_policy,
    "its role may do": weaken_policy,
    "its role trusts others": change_trust,
    "its state machine is gone": drop_machine,
    "its state machine was changed": change_machine,
    "its schedule is gone": drop_schedule,
    "its schedule is disabled": bend_schedule(State="DISABLED"),
    "its schedule was changed": bend_schedule(ScheduleExpression="at(2030-01-01T00:00:00)"),
    "its schedule was": bend_schedule(FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1440}),
}


@pytest.mark.parametrize("words", DAMAGES)
def test_a_teardown_with_a_damaged_part_is_not_armed_and_says_which(run, world, words):
    assert look(Direct(world), run.record).armed
    DAMAGES[words](world, run.record)
    seen = look(Direct(world), run.record)

    assert not seen.armed
    assert words in seen.words


@pytest.mark.parametrize("damage", [drop_role, drop_policy, drop_machine, drop_schedule])
def test_up_again_mends_what_was_deleted(run, world, damage):
    damage(world, run.record)
    run.up(aws=Direct(world))

    assert look(Direct(world), run.record).armed
    world.advance(3 * 3600)
    assert world.hsm.billed == []


def test_after_its_time_it_is_armed_only_while_it_works(run, world):
    world.refusals["DeleteHsm"] = ApiError("CloudHsmServiceException", "later")
    world.advance(3 * 3600)
    assert look(Direct(world), run.record).course == "RUNNING"

    world.refusals.clear()
    world.advance(3600)
    seen = look(Direct(world), run.record)
    assert (seen.course, seen.armed) == ("SUCCEEDED", False)


def test_the_role_is_trusted_to_its_own_machine_and_group_in_its_own_account(run, world):
    role, name = world.iam.roles[run.record.name], run.record.name
    group = f"arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule-group/{name}"
    states = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{name}"
    allowed = [("scheduler.amazonaws.com", group), ("states.amazonaws.com", states)]
    others = [
        ("scheduler.amazonaws.com", states),
        ("states.amazonaws.com", group),
        ("states.amazonaws.com", f"{states}x"),
        ("states.amazonaws.com", states.replace(ACCOUNT, OTHER_ACCOUNT)),
        ("scheduler.amazonaws.com", group.replace(ACCOUNT, OTHER_ACCOUNT)),
        ("lambda.amazonaws.com", states),
    ]

    assert all(role.trusts(service, source, ACCOUNT) for service, source in allowed)
    assert not any(role.trusts(service, source, OTHER_ACCOUNT) for service, source in allowed)
    assert not any(role.trusts(service, source, ACCOUNT) for service, source in others)


def test_the_role_may_what_awss_page_of_actions_lists_for_deleting(run, world):
    role = world.iam.roles[run.record.name]
    cluster = f"arn:aws:cloudhsm:us-east-1:{ACCOUNT}:cluster/{run.record.cluster}"

    assert all(role.allows(f"ec2:{name}", "*") for name in ("DeleteNetworkInterface", "DeleteSecurityGroup"))
    assert role.allows("cloudhsm:DeleteHsm", "*")
    assert role.allows("cloudhsm:DeleteCluster", cluster)
    assert not role.allows("cloudhsm:DeleteCluster", f"{cluster}2")
    assert not any(role.allows(f"ec2:{name}", "*") for name in ("TerminateInstances", "DeleteVpc", "CreateTags"))


@pytest.mark.parametrize("days", [2, 6])
def test_it_outlasts_days_of_refusals_within_the_event_limit(run, world, days):
    world.refusals["DeleteHsm"] = ApiError("CloudHsmInvalidRequestException", "the service is being mended")
    world.advance((2 + 24 * days) * 3600)
    assert len(world.hsm.billed) == 2
    assert look(Direct(world), run.record).armed

    world.refusals.clear()
    world.advance(3600)
    assert world.hsm.billed == []
    executions = [execution for _, execution in world.teardowns.executions]
    assert {execution.status for execution in executions} == {"SUCCEEDED"}
    assert max(execution.events for execution in executions) < asl._MOST_EVENTS


def test_an_execution_of_the_largest_cluster_stays_within_the_event_limit(run, world):
    cluster = world.hsm.clusters[run.record.cluster]
    while len(cluster.hsms) < 28:
        world.hsm.create_hsm({"ClusterId": cluster.cluster, "AvailabilityZone": "us-east-1a"})
    world.refusals["DeleteHsm"] = ApiError("CloudHsmInvalidRequestException", "not now")
    world.advance(6 * 3600)
    ended = [execution for _, execution in world.teardowns.executions if execution.status == "SUCCEEDED"]

    assert ended
    assert max(execution.events for execution in ended) < asl._MOST_EVENTS


@pytest.mark.usefixtures("run")
def test_a_hand_on_that_is_refused_is_tried_again(world):
    start, refused = world.teardowns.start_execution, iter(range(2))

    def refuse(asked):
        if next(refused, None) is not None:
            code = "Sfn.SfnException"
            raise ApiError(code, "throttled")
        return start(asked)

    world.teardowns.start_execution = refuse
    world.refusals["DeleteHsm"] = ApiError("CloudHsmInvalidRequestException", "not now")
    world.advance(24 * 3600)
    world.refusals.clear()
    world.advance(3600)

    assert world.hsm.billed == []


def test_a_down_ends_the_execution_that_is_at_work(run, world):
    world.refusals["DeleteHsm"] = ApiError("CloudHsmServiceException", "later")
    world.advance(3 * 3600)
    world.refusals.clear()
    run.down(Direct(world))
    world.advance(3600)

    assert left(world) == []
    assert "RUNNING" not in {execution.status for _, execution in world.teardowns.executions}


def test_the_same_in_cbor_where_botocore_speaks_it(place, world, monkeypatch):
    """botocore's description of CloudHSM names CBOR first; which of the two it speaks is its own list's to say."""
    protocols = ("smithy-rpc-v2-cbor", "json", "rest-json", "query")
    monkeypatch.setattr("botocore.model.PRIORITY_ORDERED_SUPPORTED_PROTOCOLS", protocols)
    world.tick = 60
    place.with_a_key().up()
    world.refusals["DeleteHsm"] = ApiError("CloudHsmServiceException", "later")
    with pytest.raises(Exception, match="CloudHsmServiceException: later"):
        place.down()
    world.refusals.clear()
    place.down()

    assert left(world) == []


def test_the_machine_is_the_one_that_was_checked(run):
    asl.check(teardown.definition(run.record))

    assert not faults(Direct(run.world), run.record)
