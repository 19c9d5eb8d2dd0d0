"""Ending a run: what AWS refuses is said, what is left is named, and nothing is disarmed before it is gone."""

from __future__ import annotations

import json

import pytest

from icehouse.errors import HsmRefusedError
from icehouse.trial_cluster.aws import AwsUnansweredError
from icehouse.trial_cluster.down import lower
from servers.aws_clock import ApiError
from servers.cloudhsm_commands import UP, Commands
from servers.cloudhsm_trial import PASSPHRASE, Direct, left


@pytest.fixture
def run(place, world, monkeypatch):
    monkeypatch.setenv("ICEHOUSE_PASSPHRASE", PASSPHRASE)
    place.with_a_key().commands = Commands(world, monkeypatch)
    return place


def up(run):
    said = run.commands.run(run.notebook.directory, *UP)
    assert said.code == 0, said.err


def down(run):
    return run.commands.run(run.notebook.directory, "down", "--poll", "0")


def status(run):
    return run.commands.run(run.notebook.directory, "status", "--format", "json")


def test_a_refusal_for_good_ends_down_with_the_words_of_aws_and_what_is_billed(run, world):
    up(run)
    world.refusals["DeleteHsm"] = ApiError("CloudHsmInvalidRequestException", "the cluster is locked by support")
    said = down(run)

    assert said.code == 2
    assert "the cluster is locked by support" in said.err.splitlines()[-2]
    assert all(hsm.hsm in said.err.splitlines()[-1] for hsm in world.hsm.billed)
    assert "repeat 'icehouse cloudhsm down'" in said.err
    assert world.teardowns.schedules
    world.refusals.clear()
    assert down(run).code == 0
    assert left(world) == []


def test_a_missing_permission_ends_down_at_once_after_every_hsm_was_tried(run, world):
    up(run)
    world.refusals["DeleteHsm"] = ApiError("CloudHsmAccessDeniedException", "not yours")
    said = down(run)

    assert said.code == 2
    assert [action for _, action in world.changes].count("DeleteHsm") == 2
    assert "not yours" in said.err


def test_an_hsm_that_is_being_made_is_waited_for_and_said(run, world):
    up(run)
    world.hsm.create_hsm({"ClusterId": run.record.cluster, "AvailabilityZone": "us-east-1a"})
    said = down(run)

    assert said.code == 0, said.err
    assert "is CREATE_IN_PROGRESS" in said.err
    assert left(world) == []


@pytest.mark.parametrize("code", ["CloudHsmServiceException", "CloudHsmInternalFailureException", "Throttling"])
def test_an_error_of_the_service_says_repeat(run, world, code):
    up(run)
    world.refusals["DeleteHsm"] = ApiError(code, "an error occurred")
    said = down(run)

    assert said.code == 2
    assert "repeat the command" in said.err
    assert all(hsm.hsm in said.err for hsm in world.hsm.billed)


def test_backups_are_named_with_what_deletes_them(run, world):
    up(run)
    cluster = run.record.cluster
    said = run.commands.run(run.notebook.directory, "down", "--poll", "0", "--format", "json")
    kept = world.hsm.backups.of(cluster)

    assert len(kept) > 2
    assert set(json.loads(said.out)["backups"]) == set(kept)
    assert f"--backup-id {kept[-1]}" in said.err
    world.advance(30 * 86400)
    assert len(world.hsm.backups.of(cluster)) == 1


def test_down_leaves_a_mark_before_it_deletes(run, world):
    up(run)
    down(run)
    order = [action for _, action in world.requests]

    assert order.index("TagResource") < order.index("DeleteHsm")


def test_without_the_permission_to_mark_it_goes_down_all_the_same(run, world):
    up(run)
    world.refusals["TagResource"] = ApiError("CloudHsmTagException", "no tags for you")
    said = down(run)

    assert said.code == 0, said.err
    assert "no tags for you" in said.err
    assert left(world) == []


def test_an_untagged_part_of_the_teardown_is_left_and_said(run, world):
    up(run)
    world.iam.roles[run.record.name].tags = []
    said = down(run)

    assert said.code == 0
    assert f"left alone: the role {run.record.name}" in said.err
    assert run.record.name in world.iam.roles


def test_costs_end_with_the_run_when_the_teardown_ended_it(run, world):
    up(run)
    world.advance(4 * 3600)
    first = json.loads(status(run).out)
    world.advance(10 * 3600)
    second = json.loads(status(run).out)

    assert first["state"] == "gone"
    assert first["cost_so_far"] == second["cost_so_far"] == second["cost_at_the_end"]
    assert down(run).code == 0
    assert json.loads(status(run).out)["cost_so_far"] == first["cost_so_far"]


def test_an_overdue_run_is_exit_two_and_says_what_bills_and_what_ends_it(run, world):
    up(run)
    world.iam.roles.pop(run.record.name)
    assert status(run).code == 0
    world.advance(3 * 3600)
    said = status(run)
    facts = json.loads(said.out)

    assert said.code == 2
    assert facts["teardown_armed"] is False
    assert all(hsm.hsm in said.err for hsm in world.hsm.billed)
    assert "icehouse cloudhsm down" in said.err
    assert float(facts["cost_at_the_end"][1:]) == float(facts["cost_so_far"][1:]) > 6.4


def test_up_that_fails_says_what_is_billed_and_what_ends_it(run, world):
    create = world.hsm.create_hsm

    def refuse_second(asked):
        if world.hsm.billed:
            code = "CloudHsmResourceLimitExceededException"
            raise ApiError(code, "at most one")
        return create(asked)

    world.hsm.create_hsm = refuse_second
    said = run.commands.run(run.notebook.directory, *UP)

    assert said.code == 2
    assert "at most one" in said.err
    assert world.hsm.billed[0].hsm in said.err.splitlines()[-1]
    assert "icehouse cloudhsm down" in said.err.splitlines()[-1]


def test_only_a_refusal_for_want_of_activation_waits_for_it_and_shows_the_words_of_aws(run, world):
    world.hsm.later_hsms_need_activation = True
    said = run.commands.run(run.notebook.directory, *UP)

    assert said.code == 0
    assert "the cluster must be activated" in said.err
    assert "AWS adds the other HSMs only after that" in said.err


def test_an_hsm_that_vanished_is_agreed_to_anew(run, world):
    up(run)
    dead = world.hsm.billed[0]
    world.hsm.delete_behind(dead)
    said = run.commands.run(run.notebook.directory, *UP)

    assert said.code == 0, said.err
    assert f"{dead.hsm} is DELETE_IN_PROGRESS; going on makes another one in its place" in said.err
    assert len(run.record.gone) == 1


class Vanishing(Direct):
    """An AWS that shows no cluster, and loses every answer to DeleteCluster."""

    def _ask(self, service, operation, but, later, parameters):
        answer = super()._ask(service, operation, but, later, parameters)
        if operation == "delete_cluster":
            msg = "lost"
            raise AwsUnansweredError(msg)
        return {"Clusters": []} if operation == "describe_clusters" else answer


def test_a_cluster_that_is_not_shown_is_believed_gone_only_when_its_deletion_says_so(run, world):
    up(run)
    with pytest.raises((AwsUnansweredError, HsmRefusedError)):
        lower(Vanishing(world), run.record, run.said.append)
    assert world.teardowns.schedules
    assert len(world.hsm.billed) == 2


def test_a_cluster_whose_making_was_not_answered_is_not_left_behind(run, world):
    world.hsm.lag = 120
    said = run.commands.run(run.notebook.directory, *UP, happenings={3: "killed after"})
    assert said.code != 0
    assert run.record.asked_at

    assert down(run).code == 0
    world.hsm.lag = 0
    assert left(world) == []


@pytest.mark.parametrize("operation", ["ListExecutions", "DescribeClusters"])
def test_an_up_that_ends_because_it_may_not_look_says_what_is_billed(run, world, operation):
    up(run)
    world.refusals[operation] = ApiError("AccessDeniedException", "you may not look")
    said = run.commands.run(run.notebook.directory, *UP)

    assert said.code == 2
    assert all(hsm.hsm in said.err for hsm in world.hsm.billed)


@pytest.mark.parametrize("command", [UP, ("down", "--poll", "0")])
def test_ctrl_c_says_what_is_billed_and_what_ends_it(run, world, command):
    up(run)
    world.hsm.delete_behind(world.hsm.billed[0])

    def interrupt():
        raise KeyboardInterrupt

    said = run.commands.run(run.notebook.directory, *command, happenings={9: interrupt})

    assert said.code == 130
    assert "interrupted; " in said.err
    assert world.hsm.billed[-1].hsm in said.err
    assert "'icehouse cloudhsm down' ends it" in said.err


def test_a_lost_run_that_its_teardown_ended_says_what_is_left_of_it(run, world, tmp_path):
    up(run)
    world.advance(3 * 3600)
    said = run.commands.run(tmp_path / "elsewhere", "status", "--run", run.record.run)

    assert said.code == 0
    assert f"left, and not billed: schedule group, state machine, role {run.record.name}" in said.err
