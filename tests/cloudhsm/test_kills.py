"""Two hundred kills and more: of `up`, of `test` and of `down`, at any request, of real processes and within this one.

Whoever comes back, and if nobody does: at the end nothing that bills is left, and nothing of others was deleted.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from icehouse.errors import ConflictError
from icehouse.trial_cluster import Wanted
from servers.aws import World
from servers.cloudhsm_trial import (
    FOREIGN,
    PASSPHRASE,
    SUBNETS,
    Direct,
    Killed,
    Place,
    killed_at,
    left,
    never_touched_others,
)
from servers.weather import crypto_user, module
from softhsm import keys_in

NURSERY = Path(__file__).parents[1] / "servers" / "cloudhsm_nursery.py"
TTL = 2 * 3600
ENDINGS = ("up and down", "down", "nobody")


def wait_for_the_teardown(world):
    for _ in range(60):
        world.advance(300)


def check(world, runs, strangers):
    assert left(world) == []
    assert never_touched_others(world, runs)
    assert FOREIGN.found_in(world) == strangers
    assert world.teardowns.missed == []


def ended(place, world, ending):
    """What happens after a kill; nothing that bills may be left then, and a late `down` finds the rest."""
    if ending == "nobody":
        wait_for_the_teardown(world)
        assert world.hsm.billed == []
    elif ending == "up and down":
        with suppress(ConflictError):  # it was on its way down
            place.up(aws=Direct(world))
    place.down(Direct(world))


def trial(directory, number, when, ending, killed):
    """One run that is killed at one call; whether it got that far."""
    world = World(tick=30)
    strangers = FOREIGN.put_into(world)
    place = Place(world, directory).with_a_key()
    if killed == "down":
        place.up(aws=Direct(world))
    try:
        getattr(place, killed)(aws=killed_at(number, when, Direct(world)))
    except Killed:
        pass
    else:
        return False
    ended(place, world, ending)
    check(world, {place.record.run} if place.record else set(), strangers)
    return True


@pytest.mark.parametrize("killed", ["up", "down"])
def test_a_hundred_kills_at_any_call(tmp_path, killed):
    chance = random.Random(f"kills of {killed}")
    length = next(n for n in range(1, 2000, 10) if not trial(tmp_path / f"{n}", n, "after", "down", killed))
    reached = 0
    while reached < 100:
        directory = tmp_path / f"{killed}-{chance.random()}"
        reached += trial(
            directory, chance.randrange(length), chance.choice(["before", "after"]), chance.choice(ENDINGS), killed
        )

    assert reached == 100


def test_kills_upon_kills(tmp_path):
    """A run whose every command is killed again and again still ends."""
    chance = random.Random("again and again")
    for number in range(15):
        world = World(tick=30)
        strangers = FOREIGN.put_into(world)
        place = Place(world, tmp_path / f"{number}").with_a_key()
        for command in ["up"] * 4 + ["down"] * 3:
            aws = killed_at(chance.randrange(30), chance.choice(["before", "after"]), Direct(world))
            with suppress(Killed, ConflictError):
                getattr(place, command)(aws=aws)
        wait_for_the_teardown(world)
        assert world.hsm.billed == []
        place.down(Direct(world))

        check(world, {place.record.run} if place.record else set(), strangers)


def progress(vault, output):
    """How far a walkthrough is: the files of its vault, then the users it is done with."""
    files = len(list(vault.iterdir())) if vault.exists() else 0
    return files + output.read_text().count("made, signed")


class Nursery:
    """Processes that run the command and are killed by the server, in the middle of a request."""

    def __init__(self, variables):
        environment = {name: os.environ[name] for name in ("PATH", "TMPDIR", "SOFTHSM2_CONF") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | variables | {"ICEHOUSE_PASSPHRASE": PASSPHRASE},
        )

    def run(self, world, directory, arguments, kill=None):
        """Run the command in a new process; its exit code, and what it said. `kill` is a request from now, and when."""
        output = directory / "said"
        order = {
            "arguments": [str(each) for each in arguments],
            "directory": str(directory),
            "environment": {},
            "output": str(output),
        }
        process = int(self._ask(json.dumps(order)))
        world.kill = (len(world.requests) + kill[0], process, kill[1]) if kill else None
        code = int(self._ask("go"))
        world.kill = None
        return code, output.read_text()

    def kill_in_between(self, world, directory, arguments, lines):
        """Run the command, and kill it when it, or its vault, has come some way: its HSM is not asked by request."""
        output = directory / "said"
        output.write_text("")
        order = {"arguments": [str(each) for each in arguments], "directory": str(directory), "output": str(output)}
        asked = len(world.requests) + 3
        process = os.pidfd_open(int(self._ask(json.dumps(order | {"environment": {}}))))
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        vault = directory / "cloudhsm" / "walkthrough"
        # What an earlier one left is there until this one has asked what state the cluster is in.
        while len(world.requests) < asked or progress(vault, output) < lines:
            if select.select([process], [], [], 0.002)[0]:
                break  # the descriptor of a process that has ended can be read
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)
        return int(self.process.stdout.readline())

    def _ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def nursery(variables, softhsm):
    del softhsm  # it says in the environment where its tokens are
    made = Nursery(variables)
    yield made
    made.close()


_NUMBERS = count(1)


def commands(softhsm, directory):
    token = softhsm.new_token(f"killed-{next(_NUMBERS)}")
    user, stand_in = crypto_user(token, directory), module(token.directory.parents[1], "cloudhsm")
    subnets = [part for subnet in SUBNETS for part in ("--subnet", subnet)]
    pace = ("--poll", "0")
    return {
        "up": ("cloudhsm", "up", "--ttl", "2h", *subnets, "--hsms", "1", "--yes", *pace),
        "down": ("cloudhsm", "down", *pace),
        "test": (
            "cloudhsm",
            "test",
            "--module",
            stand_in.path,
            "--pin-file",
            user.pin_file,
            "--token-label",
            token.label,
        ),
    }, token


def prepared(world, directory, killed):
    """A run as far as the command needs it that is to be killed."""
    place = Place(world, directory / "cloudhsm").with_a_key()
    if killed != "up":
        place.up(Wanted(TTL, SUBNETS, 1), Direct(world))
        world.hsm.activate(place.record.cluster)
    return place


@pytest.mark.parametrize("killed", ["up", "down"])
def test_twenty_five_processes_are_killed_at_a_request(tmp_path, world, nursery, softhsm, killed):
    world.tick = 60
    known, _ = commands(softhsm, tmp_path)
    chance = random.Random(f"processes of {killed}")
    runs, kills = set(), 0
    while kills < 25:
        directory = tmp_path / f"{chance.random()}"
        directory.mkdir()
        place = prepared(world, directory, killed)
        number = chance.randrange(26 if killed == "up" else 18)
        code, said = nursery.run(world, directory, known[killed], (number, chance.choice(["before", "after"])))
        assert code in {0, -signal.SIGKILL}, said
        kills += code != 0
        if kills % 5:
            ended(place, world, chance.choice(ENDINGS))
        elif place.record:
            code, said = nursery.run(world, directory, known["down"])
            assert code == 0, said
        runs |= {place.record.run} if place.record else set()

    check(world, runs, world.strangers)


def test_walkthroughs_are_killed_and_leave_no_key(tmp_path, world, nursery, softhsm):
    known, token = commands(softhsm, tmp_path)
    chance = random.Random("walkthroughs")
    prepared(world, tmp_path, "test")
    kills = 0
    for _ in range(12):
        kills += nursery.kill_in_between(world, tmp_path, known["test"], chance.randrange(1, 10)) == -signal.SIGKILL
    code, said = nursery.run(world, tmp_path, known["test"])

    assert code == 0, said
    assert kills > 5
    assert not keys_in(token)
    assert nursery.run(world, tmp_path, known["down"])[0] == 0
    assert left(world) == []
