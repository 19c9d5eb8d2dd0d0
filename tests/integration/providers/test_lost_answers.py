"""Lost answers, lag and two processes: no key is destroyed that wrapped anything, none is left that nobody lists."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from itertools import product

import pytest

from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmError
from integration.providers.clouds import CLOUDS, DEADLINE, KEY, LABEL, told_by_doctor

CONTEXT = bytes(range(32))
PATTERNS = ((1,), (1, 2), ())
"""Which answers of a call are lost, counted from when the test begins; none named: all of them."""
SECONDS = 20


def cases(calls: str):
    return [
        pytest.param(cloud, call, lag, lost, id=f"{cloud.name}-{call}-lag{lag}-{lost or 'all'}")
        for cloud in CLOUDS
        for call, lag, lost in product(getattr(cloud, calls), cloud.lags, PATTERNS)
    ]


@pytest.fixture
def cloud(request, tmp_path):
    made = request.param(tmp_path)
    yield made
    made.close()


def count(cloud, call: str) -> int:
    return (cloud.front if hasattr(cloud, "front") else cloud.server).count(call)


def lose(cloud, call: str, lost: tuple[int, ...]) -> None:
    before = count(cloud, call)
    cloud.weather.schedule = {(call, before + number): cloud.lost for number in lost}
    cloud.weather.always = {} if lost else {call: cloud.lost}


class Process:
    """One of two processes that make a key of the same label and wrap under it as soon as it is there for them."""

    def __init__(self, cloud) -> None:
        self.hsm = cloud.open(10)
        self.hsm._uri = replace(self.hsm._uri, deadline=DEADLINE)
        self.wrapped: list[tuple[DataKey, bytes]] = []

    def patient(self) -> None:
        """From now on it has time, also on a busy machine."""
        self.hsm._uri = replace(self.hsm._uri, deadline=10)

    def make_and_use(self, tries: int = 2) -> None:
        for _ in range(tries):
            with suppress(HsmError):
                self.hsm.create_key(LABEL, KEY.kind)
            with suppress(HsmError):
                secret = DataKey.random()
                self.wrapped.append((secret, self.hsm.wrap(KEY, secret, CONTEXT)))


def check(cloud, *processes: Process) -> int:
    """Everything that was wrapped opens, every living key is listed; how many were wrapped."""
    cloud.settle()
    with closing(cloud.open(10)) as fresh:
        for process in processes:
            for secret, wrapped in process.wrapped:
                assert same_secret(fresh.unwrap(KEY, wrapped, CONTEXT), secret)
    assert cloud.living() - told_by_doctor(cloud) == set()
    return sum(len(process.wrapped) for process in processes)


@pytest.mark.parametrize(("cloud", "call", "lag", "lost"), cases("making"), indirect=["cloud"])
def test_a_key_that_two_processes_make_is_one_key_whose_wrappings_open(cloud, call, lag, lost):
    one, other = Process(cloud), Process(cloud)
    with closing(one.hsm), closing(other.hsm), ThreadPoolExecutor(2) as pool:
        cloud.lag(lag)
        lose(cloud, call, lost)
        list(pool.map(Process.make_and_use, (one, other)))
        check(cloud, one, other)
        # In good weather both come to an end with the key that there is, or make it now.
        for process in (one, other):
            process.patient()
            process.make_and_use()

        assert check(cloud, one, other) >= 2


@pytest.mark.parametrize(("cloud", "call", "lag", "lost"), cases("making_anew"), indirect=["cloud"])
def test_the_same_holds_where_the_label_was_destroyed_before(cloud, call, lag, lost):
    one, other = Process(cloud), Process(cloud)
    with closing(one.hsm), closing(other.hsm):
        with closing(cloud.open(10)) as before:
            before.create_key(LABEL, KEY.kind)
            before.destroy_key(KEY)
        cloud.lag(lag)
        lose(cloud, call, lost)
        # One after the other: two at once may both be told that they made a destroyed label anew (ADR 0020).
        one.make_and_use()
        other.make_and_use()
        check(cloud, one, other)
        one.patient()
        one.make_and_use()

        assert check(cloud, one, other) >= 1


@pytest.mark.parametrize(("cloud", "call", "lag", "lost"), cases("destroying"), indirect=["cloud"])
def test_a_destruction_whose_answer_is_lost_destroys_nothing_that_was_made_since(cloud, call, lag, lost):
    one, other = Process(cloud), Process(cloud)
    with closing(one.hsm), closing(other.hsm), ThreadPoolExecutor(1) as pool:
        with closing(cloud.open(10)) as before:
            before.create_key(LABEL, KEY.kind)
        first = cloud.living()
        cloud.lag(lag)
        lose(cloud, call, lost)

        def again() -> None:
            until = time.monotonic() + SECONDS
            while not other.wrapped and time.monotonic() < until:
                with suppress(HsmError):
                    other.hsm.create_key(LABEL, KEY.kind)
                    secret = DataKey.random()
                    other.wrapped.append((secret, other.hsm.wrap(KEY, secret, CONTEXT)))
                time.sleep(0.01)

        made = pool.submit(again)
        with suppress(HsmError):
            one.hsm.destroy_key(KEY)
        cloud.settle()
        one.patient()
        other.patient()
        if cloud.living() & first:
            # Every answer was lost before anything was done for good: in good weather it is.
            one.hsm.destroy_key(KEY)
        made.result()

        assert check(cloud, one, other) == 1
