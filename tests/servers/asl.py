"""The states of the Amazon States Language that icehouse deploys, executed as they are written, on a clock of its own.

Task with AWS SDK integrations, Choice, Wait, Map, Pass, Succeed and Fail; Retry and Catch; JSONPath of names and
indices; States.MathAdd. Every event of an execution's history counts: at 25,000 AWS ends it. Anything else is an
error: a definition that this does not understand is not to be deployed untested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from servers.aws_clock import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from servers.aws_clock import Clock

    Call = Callable[[str, str, dict[str, Any]], dict[str, Any]]

_RESOURCE = re.compile(r"arn:aws:states:::aws-sdk:(\w+):(\w+)")
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")
_MOST_EVENTS = 25_000
_KNOWN = {
    "Task": {"Resource", "Parameters", "Retry", "Catch", "ResultPath"},
    "Choice": {"Choices", "Default"},
    "Wait": {"Seconds"},
    "Map": {"ItemsPath", "ItemProcessor", "ResultPath"},
    "Pass": {"Result", "Parameters"},
    "Succeed": set(),
    "Fail": {"Error", "Cause"},
}
_EVENTS = {"Task": 5, "Choice": 2, "Wait": 2, "Map": 4, "Pass": 2, "Succeed": 2, "Fail": 2}
"""Entered and exited; of a Task scheduled, started and ended; of a Map started and ended."""
_TRY, _ITERATION = 3, 2
_EVERYWHERE = {"Type", "Next", "End", "Comment"}
_MISSING = object()


class StateError(Exception):
    """A state failed, with the error's name that Retry and Catch see."""


class HistoryFullError(Exception):
    """The history has as many events as it may have; nothing catches that."""


@dataclass
class Execution:
    """One execution. `status` is RUNNING, SUCCEEDED, FAILED, or ABORTED once its machine is no longer `alive`."""

    definition: dict[str, Any]
    call: Call
    clock: Clock
    status: str = "RUNNING"
    visited: list[str] = field(default_factory=list)
    events: int = 1
    alive: Callable[[], bool] = lambda: True

    def start(self, given: Any) -> None:
        check(self.definition)
        self._go_on(_run(self, self.definition, given), self.clock.now + self.definition.get("TimeoutSeconds", 1e12))

    def count(self, events: int) -> None:
        self.events += events
        if self.events > _MOST_EVENTS:
            raise HistoryFullError

    def _go_on(self, course: Generator[float, None, Any], end: float) -> None:
        if not self.alive():
            self.status = "ABORTED"
            return
        try:
            pause = next(course)
        except StopIteration:
            self.status = "SUCCEEDED"
        except (StateError, HistoryFullError):
            self.status = "FAILED"
        else:
            if self.clock.now + pause > end:
                self.status = "FAILED"
            else:
                self.clock.after(pause, lambda: self._go_on(course, end))


def check(machine: dict[str, Any]) -> None:
    """Refuse what AWS refuses in CreateStateMachine, and what is not understood here."""
    states = machine["States"]
    targets = {machine["StartAt"]}
    for state in states.values():
        unknown = set(state) - _EVERYWHERE - _KNOWN[state["Type"]]
        assert not unknown, f"{unknown} in a {state['Type']} state"
        if state["Type"] not in {"Choice", "Succeed", "Fail"}:
            assert ("Next" in state) != (state.get("End") is True)
        targets |= {
            part["Next"] for part in (state, *state.get("Choices", ()), *state.get("Catch", ())) if "Next" in part
        }
        targets |= {state["Default"]} if "Default" in state else set()
        if state["Type"] == "Map":
            check(state["ItemProcessor"])
        if state["Type"] == "Task":
            assert _RESOURCE.fullmatch(state["Resource"])
    assert targets == set(states), "a state is missing, or nothing leads to it"


def _run(execution: Execution, machine: dict[str, Any], given: Any) -> Generator[float, None, Any]:
    """Run a machine to its end; yields the seconds it wants to wait."""
    name, value = machine["StartAt"], given
    while True:
        state = machine["States"][name]
        execution.visited.append(name)
        execution.count(_EVENTS[state["Type"]])
        try:
            value, following = yield from _DO[state["Type"]](execution, state, value)
        except StateError as error:
            catch = _caught(state, str(error))
            if catch is None:
                raise
            value, following = _placed(catch, value, {"Error": str(error), "Cause": ""}), catch["Next"]
        if following is None:
            return value
        name = following


def _task(execution: Execution, state: dict[str, Any], value: Any) -> Generator[float, None, Any]:
    service, operation = _RESOURCE.fullmatch(state["Resource"]).groups()
    given = _parameters(state.get("Parameters", {}), value)
    tries = [0] * len(state.get("Retry", ()))
    while True:
        try:
            answer = execution.call(service, operation, given)
        except ApiError as error:
            pause = _pause(state.get("Retry", ()), tries, error.code)
            if pause is None:
                raise StateError(error.code) from error
            execution.count(_TRY)
            yield pause
        else:
            return _placed(state, value, answer), state.get("Next")


def _pause(retries: Any, tries: list[int], error: str) -> float | None:
    """How long to wait before another try; None where there is none."""
    for index, retry in enumerate(retries):
        if _names(retry["ErrorEquals"], error):
            if tries[index] >= retry.get("MaxAttempts", 3):
                return None
            tries[index] += 1
            return retry.get("IntervalSeconds", 1) * retry.get("BackoffRate", 2.0) ** (tries[index] - 1)
    return None


def _choice(execution: Execution, state: dict[str, Any], value: Any) -> Generator[float, None, Any]:
    del execution
    yield from ()
    for rule in state["Choices"]:
        if _holds(rule, value):
            return value, rule["Next"]
    if "Default" not in state:
        raise StateError("States.NoChoiceMatched")
    return value, state["Default"]


def _holds(rule: dict[str, Any], value: Any) -> bool:
    found = _at(rule["Variable"], value)
    (operator,) = set(rule) - {"Variable", "Next"}
    if operator == "IsPresent":
        return (found is not _MISSING) == rule[operator]
    assert operator in {"StringEquals", "NumericLessThan"}, operator
    if found is _MISSING:
        raise StateError("States.Runtime")
    return found < rule[operator] if operator == "NumericLessThan" else found == rule[operator]


def _wait(execution: Execution, state: dict[str, Any], value: Any) -> Generator[float, None, Any]:
    del execution
    yield state["Seconds"]
    return value, state.get("Next")


def _map(execution: Execution, state: dict[str, Any], value: Any) -> Generator[float, None, Any]:
    items = _at(state["ItemsPath"], value)
    if not isinstance(items, list):
        raise StateError("States.Runtime")
    answers = []
    for item in items:
        execution.count(_ITERATION)
        answer = yield from _run(execution, state["ItemProcessor"], item)
        answers += [answer]
    return _placed(state, value, answers), state.get("Next")


def _pass(execution: Execution, state: dict[str, Any], value: Any) -> Generator[float, None, Any]:
    del execution
    yield from ()
    answer = state["Result"] if "Result" in state else _parameters(state.get("Parameters", {"": None}), value)
    return (value if answer == {"": None} else answer), state.get("Next")


def _fail(execution: Execution, state: dict[str, Any], value: Any) -> Generator[float, None, Any]:
    del execution, value
    yield from ()
    raise StateError(state.get("Error", "States.TaskFailed"))


_DO = {"Task": _task, "Choice": _choice, "Wait": _wait, "Map": _map, "Pass": _pass, "Succeed": _pass, "Fail": _fail}


def _caught(state: dict[str, Any], error: str) -> dict[str, Any] | None:
    return next((each for each in state.get("Catch", ()) if _names(each["ErrorEquals"], error)), None)


def _names(listed: list[str], error: str) -> bool:
    # States.Runtime is the one that States.ALL does not catch.
    return error in listed or ("States.ALL" in listed and error != "States.Runtime")


def _placed(state: dict[str, Any], value: Any, answer: Any) -> Any:
    path = state.get("ResultPath", "$")
    if path is None:
        return value
    if path == "$":
        return answer
    (name,) = re.fullmatch(r"\$\.(\w+)", path).groups()
    return {**value, name: answer}


def _parameters(template: Any, value: Any) -> Any:
    if isinstance(template, list):
        return [_parameters(each, value) for each in template]
    if not isinstance(template, dict):
        return template
    found = {}
    for name, each in template.items():
        if name.endswith(".$"):
            found[name.removesuffix(".$")] = _evaluated(each, value)
            if found[name.removesuffix(".$")] is _MISSING:
                raise StateError("States.ParameterPathFailure")
        else:
            found[name] = _parameters(each, value)
    return found


def _evaluated(expression: str, value: Any) -> Any:
    """A path, or the sum of what one leads to and a number."""
    added = re.fullmatch(r"States\.MathAdd\((\S+), (-?\d+)\)", expression)
    return _at(added[1], value) + int(added[2]) if added else _at(expression, value)


def _at(path: str, value: Any) -> Any:
    """What a path of names and indices leads to."""
    assert re.fullmatch(rf"\$(?:{_STEP.pattern})*", path), path
    for name, index in _STEP.findall(path):
        if name:
            value = value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
        else:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else _MISSING
    return value
