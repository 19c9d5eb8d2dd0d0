"""A run whose directory is lost: nothing of it is disarmed unless it was seen in the region that was looked in."""

from __future__ import annotations

import json

import pytest

from servers.aws_clock import ApiError
from servers.cloudhsm_commands import UP, Commands
from servers.cloudhsm_trial import PASSPHRASE, Place, left

ELSEWHERE = "eu-west-1"


@pytest.fixture
def home(place, world, monkeypatch):
    monkeypatch.setenv("ICEHOUSE_PASSPHRASE", PASSPHRASE)
    place.with_a_key().commands = Commands(world, monkeypatch)
    said = place.commands.run(place.notebook.directory, *UP)
    assert said.code == 0, said.err
    return place


def armed(world, record):
    return record.name in world.iam.roles and bool(world.teardowns.machines) and bool(world.teardowns.schedules)


@pytest.mark.parametrize("command", ["down", "status"])
def test_another_region_than_the_runs_changes_nothing_and_names_it(home, world, tmp_path, command):
    before = len(world.changes)
    said = home.commands.run(tmp_path / "elsewhere", command, "--run", home.record.run, "--region", ELSEWHERE)

    assert said.code == 1
    assert f"nothing of run {home.record.run} is in {ELSEWHERE}; looked in" in said.err
    assert "--region us-east-1" in said.err
    assert len(world.changes) == before
    assert armed(world, home.record)


@pytest.mark.parametrize("command", ["down", "status"])
def test_a_mistyped_run_is_exit_one_and_changes_nothing(home, world, tmp_path, command):
    before = len(world.changes)
    said = home.commands.run(tmp_path / "elsewhere", command, "--run", "0123456789abcdef")

    assert said.code == 1
    assert "nothing of run 0123456789abcdef is in us-east-1; looked in" in said.err
    assert len(world.changes) == before


def test_the_roles_tags_name_region_and_cluster(home, world):
    tags = {tag["Key"]: tag["Value"] for tag in world.iam.roles[home.record.name].tags}

    assert tags["icehouse-cloudhsm-region"] == "us-east-1"
    assert tags["icehouse-cloudhsm-cluster"] == home.record.cluster


@pytest.mark.parametrize("tagged", [True, False])
def test_without_a_region_the_role_says_where_the_run_is(home, world, tmp_path, tagged, monkeypatch):
    if not tagged:
        world.iam.roles[home.record.name].tags = []
    monkeypatch.setattr("servers.cloudhsm_commands.REGION", ELSEWHERE)
    said = home.commands.run(tmp_path / "elsewhere", "down", "--run", home.record.run, "--poll", "0")

    assert said.code == 0, said.err
    assert world.hsm.billed == []


def test_a_run_after_its_teardown_is_disarmed_in_its_region_only(home, world, tmp_path):
    world.advance(3 * 3600)
    assert world.hsm.billed == []

    wrong = home.commands.run(tmp_path / "a", "down", "--run", home.record.run, "--region", ELSEWHERE)
    right = home.commands.run(tmp_path / "a", "down", "--run", home.record.run, "--region", "us-east-1", "--poll", "0")
    assert (wrong.code, right.code) == (1, 0), right.err
    assert left(world) == []


def test_a_record_at_hand_is_used_and_noted(home):
    directory = home.notebook.directory
    said = home.commands.run(directory, "down", "--run", home.record.run, "--poll", "0")

    assert said.code == 0, said.err
    assert home.record.ended_at
    assert home.record.going_down
    again = home.commands.run(directory, "status", "--run", home.record.run)
    assert again.code == 0
    assert "gone" in again.out


def test_a_damaged_record_does_not_hide_the_run(home, world):
    run = home.record.run
    (home.notebook.directory / "cloudhsm.json").write_text("{}")
    said = home.commands.run(home.notebook.directory, "down", "--run", run, "--poll", "0")

    assert said.code == 0, said.err
    assert left(world) == []


@pytest.mark.parametrize("lost", [True, False])
def test_a_cluster_without_its_tag_is_never_gone_and_stays_armed(home, world, tmp_path, lost):
    record = home.record
    world.hsm.clusters[record.cluster].tags = {}
    directory, run = (tmp_path / "elsewhere", ("--run", record.run)) if lost else (home.notebook.directory, ())
    status = home.commands.run(directory, "status", *run, "--format", "json")
    assert status.code == 0, status.err
    shown = json.loads(status.out)
    assert (shown[0] if lost else shown)["state"] == "INITIALIZED"
    assert "no longer carries the tag" in status.err

    down = home.commands.run(directory, "down", *run, "--poll", "0")
    assert down.code == 1
    assert f"{record.cluster} is of run {record.run} by its id" in down.err
    assert f"Key=icehouse-cloudhsm-run,Value={record.run}" in down.err
    assert all(hsm.hsm in down.err for hsm in world.hsm.billed)
    assert armed(world, record)
    assert len(world.hsm.billed) == 2

    world.hsm.clusters[record.cluster].tags = {"icehouse-cloudhsm-run": record.run}
    assert home.commands.run(directory, "down", *run, "--poll", "0").code == 0
    assert left(world) == []


def test_answers_that_lag_do_not_hide_a_cluster_from_down(place, world, monkeypatch):
    monkeypatch.setenv("ICEHOUSE_PASSPHRASE", PASSPHRASE)
    commands = Commands(world, monkeypatch)
    for seed in range(8):
        run = Place(world, place.notebook.directory.with_name(f"run-{seed}")).with_a_key()
        world.hsm.lag = 0
        assert commands.run(run.notebook.directory, *UP).code == 0
        world.hsm.lag = 300
        world.hsm.chance.seed(seed)
        world.hsm.remember()
        said = commands.run(run.notebook.directory, "down", "--poll", "0")
        world.hsm.lag = 0

        assert said.code == 0, said.err
        assert left(world) == []


def test_a_list_of_runs_says_when_each_ends_and_which_is_overdue(home, world, tmp_path):
    world.iam.roles.pop(home.record.name)
    early = home.commands.run(tmp_path / "elsewhere", "status", "--format", "json")
    assert early.code == 0
    assert {each["run"]: bool(each["ends_at"]) for each in json.loads(early.out)}[home.record.run]

    world.advance(3 * 3600)
    late = home.commands.run(tmp_path / "elsewhere", "status")
    assert late.code == 2
    assert all(hsm.hsm in late.err for hsm in world.hsm.billed)
    assert f"--run {home.record.run}" in late.err


def test_a_denied_look_at_the_role_disarms_nothing(home, world, tmp_path):
    world.refusals["GetRole"] = ApiError("AccessDenied", "not allowed", 403)
    said = home.commands.run(tmp_path / "elsewhere", "down", "--run", home.record.run, "--poll", "0")

    assert said.code == 2
    assert armed(world, home.record)
