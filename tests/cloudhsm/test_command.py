"""The command itself: what it prints, what it asks, and what it refuses."""

from __future__ import annotations

import itertools
import json
import os
import pty
import shlex

import pytest

from executable import all_refused, refused
from icehouse.planner.reading import load
from servers.aws import ACCOUNT, OTHER_ACCOUNT
from servers.cloudhsm_trial import STRANGER, left
from servers.weather import crypto_user, module
from softhsm import MODULE, keys_in

UP = ("cloudhsm", "up", "--ttl", "2h", "--subnet", "subnet-0000000a", "--subnet", "subnet-0000000b")
QUICK = ("--poll", "0", "--yes")


LABELS = (f"trial {number}" for number in itertools.count())


@pytest.fixture
def token(softhsm, tmp_path):
    return crypto_user(softhsm.new_token(next(LABELS)), tmp_path)


def price():
    return load("current").tiers("aws_cloudhsm", "hsm", "us-east-1")[0].value


def walkthrough(shell, token, *more):
    at = module(token.directory.parents[1], "cloudhsm").path
    files = ("--module", at, "--pin-file", token.pin_file, "--token-label", token.label)
    return shell.do("cloudhsm", "test", *files, *more)


def test_the_whole_story(shell, world, token):
    up = shell.do(*UP, *QUICK, "--format", "json")
    cluster = up.json["cluster"]
    assert (up.json["state"], len(up.json["hsms"]), up.json["teardown_armed"]) == ("INITIALIZED", 2, True)
    assert f"configure-cli --cluster-id {cluster}" in up.err
    assert "at most $6.40 until the end" in up.err

    world.hsm.activate(cluster)
    status = shell.do("cloudhsm", "status", "--format", "json").json
    assert (status["state"], status["cost_at_the_end"]) == ("ACTIVE", f"${2 * 2 * float(price()):.2f}")
    assert status["cost_so_far"] == f"${2 * float(price()):.2f}"

    test = walkthrough(shell, token, "--format", "json").json
    assert (test["users"], test["rotations"], test["hsm_keys_for_all_users"]) == (5, 5, 2)
    assert test["cost_so_far"] == status["cost_so_far"]
    assert not (shell.directory / "cloudhsm" / "walkthrough").exists()

    down = shell.do("cloudhsm", "down", "--poll", "0", "--format", "json").json
    assert (down["left"], left(world)) == ("nothing", [])
    assert shell.do("cloudhsm", "status", "--format", "json").json["state"] == "gone"


def test_the_walkthrough_leaves_no_key_in_the_token(shell, world, token):
    world.hsm.activate(shell.do(*UP, *QUICK, "--format", "json").json["cluster"])
    walkthrough(shell, token)

    assert not keys_in(token)
    assert refused(
        shell, "cloudhsm", "test", "--module", "/none.so", "--pin-file", token.pin_file, "--token-label", "none"
    )


def test_a_wrong_pin_or_a_module_that_is_not_cloudhsms_ends_the_walkthrough_with_nothing_made(
    shell, world, token, softhsm
):
    world.hsm.activate(shell.do(*UP, *QUICK, "--format", "json").json["cluster"])
    files = ("--pin-file", token.pin_file, "--token-label", token.label)
    assert "not for a token made by" in refused(shell, "cloudhsm", "test", "--module", MODULE, *files)

    right = token.pin_file.read_text()
    token.pin_file.write_text(right.partition(":")[2])
    at = module(softhsm.directory, "cloudhsm").path
    said = refused(shell, "cloudhsm", "test", "--module", at, *files, code=2)
    assert "USER:PASSWORD" in said
    assert right.partition(":")[2].strip() not in said
    assert not keys_in(token)


def test_a_run_with_one_hsm_keeps_its_keys_in_one(shell, world, token):
    cluster = shell.do(*UP, "--hsms", "1", *QUICK, "--format", "json").json["cluster"]
    world.hsm.activate(cluster)

    assert walkthrough(shell, token, "--format", "json").json["users"] == 5


def test_a_run_with_two_hsms_needs_both(shell, world, token):
    cluster = shell.do(*UP, *QUICK, "--format", "json").json["cluster"]
    world.hsm.activate(cluster)
    world.hsm.clusters[cluster].hsms[0].state = "DELETE_IN_PROGRESS"
    at = module(token.directory.parents[1], "cloudhsm").path
    files = ("--module", at, "--pin-file", token.pin_file, "--token-label", token.label)

    assert "2 active HSMs" in refused(shell, "cloudhsm", "test", *files, code=2)
    assert not keys_in(token)


def test_a_run_whose_directory_is_lost_is_found_by_its_tag(shell, world):
    run = shell.do(*UP, *QUICK, "--format", "json").json["run"]
    (shell.directory / "cloudhsm").rename(shell.directory / "lost")

    listed = shell.do("cloudhsm", "status", "--format", "json").json
    assert {each["run"] for each in listed} == {run, "another-run"}
    shell.do("cloudhsm", "down", "--run", run, "--poll", "0")
    assert left(world) == []


def test_a_dry_run_prints_the_calls_that_are_made(shell, world):
    dry = shell.do(*UP, "--dry-run", "--format", "json").json
    assert (world.requests, (shell.directory / "cloudhsm").exists()) == ([], False)
    shell.do(*UP, *QUICK)
    made = [action for _, action in dict.fromkeys(world.changes)]

    assert list(dict.fromkeys(each["operation"].title().replace("_", "") for each in dry)) == made


def test_a_dry_run_prints_commands_that_a_shell_can_read(shell):
    lines = shell.do(*UP, "--dry-run").out.splitlines()

    assert all(shlex.split(line)[:2] in (["aws", each] for each in SERVICES) for line in lines)
    assert all(json.loads(shlex.split(line)[-1]) for line in lines)


def test_a_dry_run_needs_no_region(shell, world):
    shell.hidden |= {"AWS_REGION", "AWS_DEFAULT_REGION"}
    said = shell.do(*UP, "--dry-run")

    assert "arn:aws:states:REGION:ACCOUNT:stateMachine" in said.out
    assert world.requests == []
    assert "not 'us-nowhere-1'" in refused(shell, *UP, "--dry-run", "--region", "us-nowhere-1")


SERVICES = ("cloudhsmv2", "iam", "stepfunctions", "scheduler")


def test_bad_input_is_refused_and_nothing_is_made(shell, world):
    one = ("cloudhsm", "up", "--subnet", "subnet-0000000a", "--yes")
    both = (*one, "--subnet", "subnet-0000000b")
    said = all_refused(
        shell,
        [
            (*both, "--ttl", "20m"),
            (*both, "--ttl", "8d"),
            (*both, "--ttl", "soon"),
            (*one, "--ttl", "2h"),
            (*one, "--ttl", "2h", "--subnet", "subnet-0000000a"),
            (*one, "--ttl", "2h", "--subnet", "vpc-1"),
            (*both, "--ttl", "2h", "--hsms", "0"),
            (*both, "--ttl", "2h", "--type", "hsm1.medium"),
            (*both, "--ttl", "2h", "--mode", "fips"),
            (*both, "--ttl", "2h", "--region", "us-nowhere-1"),
            (*both, "--ttl", "2h", "--account", OTHER_ACCOUNT),
            (*UP,),
            ("cloudhsm", "down", "--run", "../all"),
            ("cloudhsm", "down"),
        ],
    )

    for words, expected in zip(
        said,
        (
            "longer than the 20 minutes", "at most 7 days", "is written like", "at least 2 subnets", "named once",
            "is named like", "1 to 28 HSMs", "no longer be created", "FIPS, NON_FIPS", "not 'us-nowhere-1'",
            f"account {OTHER_ACCOUNT}", "no terminal to ask", "16 hexadecimal", "no run in",
        ),
        strict=True,
    ):  # fmt: skip
        assert expected in words
    assert world.changes == []


@pytest.mark.parametrize(
    ("key", "words"),
    [("", "no AWS credentials"), ("AKIANOBODY", "credentials are not valid"), (STRANGER, "AccessDenied")],
)
def test_credentials_that_are_missing_or_of_others_make_nothing(shell, world, key, words):
    shell.environment["AWS_ACCESS_KEY_ID"] = key
    if not key:
        shell.hidden |= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    done = shell.run(*UP, *QUICK)

    assert (done.code, len(done.errors)) == (2 if key == STRANGER else 1, 1)
    assert words in done.err
    assert world.hsm.billed == []


def test_credentials_of_another_account_do_not_end_a_run(shell, world):
    shell.do(*UP, *QUICK)
    shell.environment["AWS_ACCESS_KEY_ID"] = STRANGER

    assert f"of account {ACCOUNT}" in refused(shell, "cloudhsm", "down")
    assert len(world.hsm.billed) == 2


def test_an_aws_that_is_away_is_exit_code_two(shell):
    shell.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"

    assert "AWS does not answer" in refused(shell, *UP, *QUICK, code=2)


def test_other_settings_for_a_run_that_stands_are_refused(shell):
    shell.do(*UP, *QUICK)

    assert "other settings" in refused(shell, *UP, "--hsms", "1", *QUICK)


@pytest.mark.parametrize(("answer", "code", "hsms"), [("n", 1, 0), ("y", 0, 2)])
def test_it_asks_before_it_bills(shell, world, answer, code, hsms):
    controller, terminal = pty.openpty()
    process = shell.start(*UP, "--poll", "0", stdin=terminal)
    os.close(terminal)
    os.write(controller, f"{answer}\n".encode())
    err = process.communicate(timeout=120)[1].decode()
    os.close(controller)

    assert (process.returncode, len(world.hsm.billed)) == (code, hsms), err
    assert "2 HSMs at $1.60 an hour each" in err


def test_after_a_run_has_ended_another_begins_in_its_place(shell, world):
    first = shell.do(*UP, *QUICK, "--format", "json").json["run"]
    shell.do("cloudhsm", "down", "--poll", "0")
    second = shell.do(*UP, *QUICK, "--format", "json").json["run"]

    assert first != second
    assert len(world.hsm.billed) == 2


def test_a_run_on_its_way_down_does_not_come_up(shell, world):
    shell.do(*UP, *QUICK)
    world.faults = dict.fromkeys(range(len(world.requests) + 5, 10_000), "broken")
    assert shell.run("cloudhsm", "down", "--poll", "0").code == 2
    world.faults = {}

    assert "on its way down" in refused(shell, *UP, *QUICK)


def test_without_boto3_the_extra_is_named(shell):
    blocked = shell.directory / "boto3"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ImportError('not here')")
    shell.environment |= {"PYTHONPATH": str(shell.directory), "PYTHONDONTWRITEBYTECODE": "1"}

    assert "pip install 'icehouse[aws]'" in refused(shell, *UP, *QUICK)


def test_other_commands_do_not_load_boto3(shell):
    code = "import sys, icehouse.cli.main; sys.exit('boto3' in sys.modules or 'cryptography' in sys.modules)"

    assert shell.script("-c", code).code == 0
