"""HSMs cost money by the hour: never more than were agreed to, whatever AWS shows, loses, or shows late."""

from __future__ import annotations

import itertools
import json

import pytest

from icehouse.errors import ConflictError, HsmRefusedError
from icehouse.trial_cluster import lost
from icehouse.trial_cluster.aws import AwsUnansweredError
from icehouse.trial_cluster.down import lower
from icehouse.trial_cluster.hsms import renewed
from servers.aws_clock import ApiError
from servers.cloudhsm_trial import Direct


@pytest.fixture
def run(place):
    return place.with_a_key()


def made(world):
    return [action for _, action in world.changes].count("CreateHsm")


class Losing(Direct):
    """An AWS that does what it is asked and loses the answer, or loses the question, for the n-th of an operation."""

    def __init__(self, world, operation, *, done, times=1):
        super().__init__(world)
        self.operation, self.done, self.times = operation, done, times

    def _ask(self, service, operation, but, later, parameters):
        if operation != self.operation or not self.times:
            return super()._ask(service, operation, but, later, parameters)
        self.times -= 1
        if self.done:
            super()._ask(service, operation, but, later, parameters)
        msg = "no answer"
        raise AwsUnansweredError(msg)


@pytest.mark.parametrize("seed", range(6))
def test_answers_that_lag_make_no_third_hsm(run, world, seed):
    world.hsm.lag = 120
    world.hsm.chance.seed(seed)
    run.up(aws=Direct(world))

    assert made(world) == 2
    assert len(world.hsm.billed) == 2


@pytest.mark.parametrize("lag", [0, 120])
def test_a_lost_answer_is_waited_for_and_makes_no_other_hsm(run, world, lag):
    world.hsm.lag = lag
    run.up(aws=Losing(world, "create_hsm", done=True, times=2))

    assert made(world) == 2
    assert len(run.record.hsms) == 2


def test_a_lost_question_is_asked_again_when_nothing_has_come_of_it(run, world):
    run.up(aws=Losing(world, "create_hsm", done=False))

    assert len(world.hsm.billed) == 2


def test_a_lost_answer_to_the_making_of_a_cluster_makes_no_second_one(run, world):
    world.hsm.lag = 120
    run.up(aws=Losing(world, "create_cluster", done=True))

    assert [action for _, action in world.changes].count("CreateCluster") == 1


def test_an_hsm_whose_making_fails_stops_up_with_the_words_of_aws(run, world):
    world.hsm.failing = ["no capacity for this kind in this zone"] * 20

    with pytest.raises(HsmRefusedError, match="no capacity for this kind") as refused:
        run.up(aws=Direct(world))
    assert made(world) == 1
    assert "agree" in refused.value.hint


def test_a_second_hsm_whose_making_fails_stops_it_too_and_the_first_is_named(run, world):
    raising = iter([None, "the subnet is full"])
    create = world.hsm.create_hsm

    def failing_second(asked):
        words = next(raising, "the subnet is full")
        world.hsm.failing = [words] if words else []
        return create(asked)

    world.hsm.create_hsm = failing_second
    with pytest.raises(HsmRefusedError, match="the subnet is full") as refused:
        run.up(aws=Direct(world))

    first = run.record.hsms[0]
    assert made(world) == 2
    assert first in refused.value.hint
    assert "'icehouse cloudhsm down' ends it" in refused.value.hint


def test_an_hsm_that_somebody_deletes_is_not_made_again(run, world):
    run.up(aws=Direct(world))
    world.hsm.delete_behind(world.hsm.billed[0])
    world.advance(3600)

    for _ in range(3):
        with pytest.raises(HsmRefusedError, match="vanished"):
            run.up(aws=Direct(world))
    assert made(world) == 2


def test_another_one_is_made_once_it_is_agreed_to_and_only_one(run, world):
    run.up(aws=Direct(world))
    dead = world.hsm.billed[0]
    world.hsm.delete_behind(dead)
    world.advance(300)
    record, words = renewed(Direct(world), run.record)
    run.notebook.write(record)
    run.up(aws=Direct(world))

    assert dead.hsm in words[0]
    assert made(world) == 3
    assert len(world.hsm.billed) == 2


def test_a_late_answer_is_not_taken_for_an_hsm_that_vanished(run, world):
    run.up(aws=Direct(world))
    world.hsm.lag = 120

    assert renewed(Direct(world), run.record) == (run.record, [])


def test_an_hsm_that_somebody_adds_is_one_too_many(run, world):
    run.up(aws=Direct(world))
    world.hsm.create_hsm({"ClusterId": run.record.cluster, "AvailabilityZone": "us-east-1a"})

    with pytest.raises(ConflictError, match="more HSMs than the 2 that were agreed to"):
        run.up(aws=Direct(world))


def test_a_down_elsewhere_stops_up_at_its_mark(run, world):
    run.up(aws=Direct(world))
    record = run.record
    world.hsm.tag_resource({"ResourceId": record.cluster, "TagList": [{"Key": "icehouse-cloudhsm-down", "Value": "1"}]})

    with pytest.raises(ConflictError, match="down' has begun"):
        run.up(aws=Direct(world))
    assert made(world) == 2


def test_up_beside_a_down_that_knows_no_lock_makes_two_hsms_and_not_forty(run, world):
    """Each command goes one call, and then the other: whoever is first, at most what was agreed to is made."""
    for number in (14, 22, 30, 45, 60):
        aws, calls, ended = Direct(world), itertools.count(), []
        ask = aws._ask

        def beside(*asked, ask=ask, calls=calls, number=number, ended=ended):
            if next(calls) == number and run.record.cluster:
                other = Direct(world)
                record = lost.named(run.record.run, other.caller())
                lower(other, lost.traced(other, record), ended.append)
            return ask(*asked)

        aws._ask = beside
        before = made(world)
        with pytest.raises((ConflictError, HsmRefusedError)):
            run.up(aws=aws)

        assert ended
        assert made(world) - before <= 2
        assert world.hsm.billed == []
        run.down(Direct(world))
        (run.notebook.directory / "cloudhsm.json").unlink()


def refused_second(world, code, words):
    create = world.hsm.create_hsm

    def refusing(asked):
        if world.hsm.billed:
            raise ApiError(code, words)
        return create(asked)

    world.hsm.create_hsm = refusing


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("CloudHsmResourceLimitExceededException", "no more HSMs"),
        ("CloudHsmAccessDeniedException", "no permission"),
        ("CloudHsmInvalidRequestException", "the subnet has no free address"),
    ],
)
def test_a_second_hsm_that_is_refused_is_an_error_with_the_words_of_aws(run, world, code, words):
    refused_second(world, code, words)

    with pytest.raises(HsmRefusedError, match=words) as refused:
        run.up(aws=Direct(world))
    assert world.hsm.billed[0].hsm in refused.value.hint


def test_it_is_billed_from_when_aws_agreed(run, world):
    world.refusals["CreateHsm"] = ApiError("CloudHsmResourceLimitExceededException", "no more HSMs")
    with pytest.raises(HsmRefusedError, match="no more HSMs"):
        run.up(aws=Direct(world))

    assert not any("billed from now on" in words for words in run.said)
    assert run.record.first_hsm_at == 0
    world.refusals.clear()
    run.up(aws=Direct(world))
    assert sum("billed from now on" in words for words in run.said) == 2


def test_throttling_is_waited_out_and_counts_as_not_begun(run, world):
    create, throttled = world.hsm.create_hsm, iter(range(3))

    def busy(asked):
        if next(throttled, None) is not None:
            code = "Throttling"
            raise ApiError(code, "slow down")
        return create(asked)

    world.hsm.create_hsm = busy
    run.up(aws=Direct(world))

    assert len(world.hsm.billed) == 2


def test_a_record_of_an_older_icehouse_is_read_and_its_hsms_are_counted(run, world):
    run.up(aws=Direct(world))
    path = run.notebook.directory / "cloudhsm.json"
    document = json.loads(path.read_text())
    old = {name: document[name] for name in document if name not in {"hsms", "gone", "asked_at", "made_at"}}
    path.write_text(json.dumps(old))
    run.up(aws=Direct(world))

    assert made(world) == 2
    assert len(run.record.hsms) == 2
