"""The pages on CloudHSM: their commands run, and their policy is what a run needs and no more."""

from __future__ import annotations

import json
import re
from pathlib import Path

from icehouse.trial_cluster.armed import look
from icehouse.trial_cluster.backups import kept
from servers.cloudhsm_trial import WANTED, Direct, left
from servers.weather import crypto_user, module

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOR_CLOUDHSM_ITSELF = {"ec2", "iam:CreateServiceLinkedRole"}
WITH_ANOTHER = {"iam:TagRole", "iam:PassRole", "states:TagResource", "scheduler:TagResource"}
"""What AWS asks of whoever makes something with tags, or hands it a role."""


def blocks(page):
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def run(shell, code):
    process = shell.launch("bash", "-euo", "pipefail", "-c", code)
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode(), err.decode()


def with_commands(shell, token):
    from executable import ICEHOUSE  # noqa: PLC0415

    shell.environment |= {
        "PATH": f"{ICEHOUSE.parent}:{shell.variables['PATH']}",
        "MODULE": str(module(token.directory.parents[1], "cloudhsm").path),
        "PIN_FILE": str(token.pin_file),
        "TOKEN_LABEL": token.label,
    }
    return shell


def test_the_how_to_runs_from_top_to_bottom(shell, world, softhsm, tmp_path):
    world.tick = 60
    shell = with_commands(shell, crypto_user(softhsm.new_token("how-to"), tmp_path))
    said = []
    for code in blocks("howto/try-cloudhsm.md"):
        # Nobody waits for seconds that the server's own clock does not need.
        done, out, err = run(shell, re.sub(r"(cloudhsm (?:up|down)\b)", r"\1 --poll 0", code))
        assert done == 0, err
        said.append(out)
        (ours,) = [each for each in world.hsm.living if each.state == "INITIALIZED"] or [None]
        if ours:
            world.hsm.activate(ours.cluster)

    assert len(said) == 5
    assert re.search(r"^teardown armed +yes$", said[2], re.MULTILINE)
    assert re.search(r"^left +nothing$", said[4], re.MULTILINE)
    assert left(world) == []


def test_the_tutorials_command_runs_and_asks_nothing_of_aws(shell, world, softhsm):
    (code,) = blocks("tutorial/choose-an-hsm.md")
    done, out, err = run(with_commands(shell, softhsm.new_token("tutorial")), code)

    assert done == 0, err
    assert out.count("aws cloudhsmv2 ") == 4
    assert world.requests == []


def test_the_activation_in_the_how_to_is_what_up_prints():
    from icehouse.trial_cluster.up import ACTIVATION  # noqa: PLC0415

    page = (DOCS / "howto/try-cloudhsm.md").read_text(encoding="utf-8")
    printed = ACTIVATION.format(root="cloudhsm/customerCA.crt", cluster="cluster-…").splitlines()[1:]

    assert all(line.strip() in page for line in printed)


def test_the_policy_lists_what_a_run_asks_for_and_nothing_else(place, world):
    aws = Direct(world)
    place.with_a_key().up(WANTED, aws)
    look(aws, place.record)
    place.down(aws)
    kept(aws, [place.record.cluster])
    asked = {f"{service}:{action}" for service, action in world.requests if service != "sts"}
    policy = json.loads((DOCS / "howto/cloudhsm-policy.json").read_text(encoding="utf-8"))
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    own = {each for each in allowed if not FOR_CLOUDHSM_ITSELF & {each, each.partition(":")[0]}}

    assert own - WITH_ANOTHER == asked
