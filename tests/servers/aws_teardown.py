"""What of Step Functions and EventBridge Scheduler a teardown uses; a schedule that is due starts its machine.

A role is known to them only a while after it was made, and taken only for a source that its trust allows. Whatever an
execution asks for is checked against its role's policy. An execution ends when its machine is deleted.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from servers.asl import Execution, check
from servers.aws_clock import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.aws_clock import Clock
    from servers.aws_iam import Iam, Role

MACHINE_GONE, GROUP_GONE = 30, 45
"""Seconds."""


@dataclass
class Machine:
    definition: str
    role: str
    tags: list[dict[str, str]]
    going: bool = False


@dataclass
class Group:
    tags: list[dict[str, str]]
    going: bool = False


class Teardowns:
    """The two services in a region. `invoke(role, service, operation, parameters)` is how a machine asks AWS."""

    def __init__(self, clock: Clock, account: str, region: str, iam: Iam) -> None:
        self.clock, self.account, self.region, self.iam = clock, account, region, iam
        self.invoke: Callable[[Role, str, str, dict[str, Any]], dict[str, Any]]
        self.machines: dict[str, Machine] = {}
        self.groups: dict[str, Group] = {}
        self.schedules: dict[tuple[str, str], dict[str, Any]] = {}
        self.executions: list[tuple[str, Execution]] = []
        self.missed: list[str] = []
        """Schedules that could not start what they should have."""
        self.deleted: list[tuple[str, dict[str, str]]] = []

    @property
    def roles(self) -> dict[str, Role]:
        return self.iam.roles

    def _assumed(self, arn: str, service: str, source: str) -> Role | None:
        return self.iam.assumed(arn, f"{service}.amazonaws.com", source)

    # Step Functions

    def create_state_machine(self, asked: dict[str, Any]) -> dict[str, Any]:
        arn = f"arn:aws:states:{self.region}:{self.account}:stateMachine:{asked['name']}"
        if self._assumed(asked["roleArn"], "states", arn) is None:
            raise ApiError(
                "AccessDeniedException", "states.amazonaws.com is not authorized to assume the provided role."
            )
        check(json.loads(asked["definition"]))
        before = self.machines.get(arn)
        if before is not None and before.going:
            raise ApiError("StateMachineDeleting", arn)
        if before is not None and (before.definition, before.role) != (asked["definition"], asked["roleArn"]):
            raise ApiError("StateMachineAlreadyExists", arn)
        self.machines.setdefault(arn, Machine(asked["definition"], asked["roleArn"], asked.get("tags", [])))
        return {"stateMachineArn": arn, "creationDate": self.clock.now}

    def describe_state_machine(self, asked: dict[str, Any]) -> dict[str, Any]:
        arn = asked["stateMachineArn"]
        machine = self._machine(arn, "StateMachineDoesNotExist")
        return {
            "stateMachineArn": arn,
            "name": arn.rpartition(":")[2],
            "status": "DELETING" if machine.going else "ACTIVE",
            "definition": machine.definition,
            "roleArn": machine.role,
            "type": "STANDARD",
            "creationDate": self.clock.now,
        }

    def list_machine_tags(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"tags": self._machine(asked["resourceArn"], "ResourceNotFound").tags}

    def delete_state_machine(self, asked: dict[str, Any]) -> dict[str, Any]:
        arn = asked["stateMachineArn"]
        machine = self.machines.get(arn)
        if machine is not None and not machine.going:
            machine.going = True
            self._note(arn, machine.tags)
            self.clock.after(MACHINE_GONE, lambda: self.machines.pop(arn))
        return {}

    def _machine(self, arn: str, code: str) -> Machine:
        if arn not in self.machines:
            raise ApiError(code, f"there is no {arn}")
        return self.machines[arn]

    # EventBridge Scheduler

    def create_schedule_group(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["Name"]
        if name in self.groups:
            raise ApiError("ConflictException", f"there is a group {name}", 409)
        self.groups[name] = Group(asked.get("Tags", []))
        return {"ScheduleGroupArn": self._group_arn(name)}

    def create_schedule(self, asked: dict[str, Any]) -> dict[str, Any]:
        key = asked.get("GroupName", "default"), asked["Name"]
        if key[0] not in self.groups:
            raise ApiError("ResourceNotFoundException", f"there is no group {key[0]}", 404)
        arn = f"arn:aws:scheduler:{self.region}:{self.account}:schedule/{key[0]}/{key[1]}"
        if key in self.schedules:
            if self.schedules[key] == asked:  # the same client token, and the same request
                return {"ScheduleArn": arn}
            raise ApiError("ConflictException", f"there is a schedule {key[1]}", 409)
        if self._assumed(asked["Target"]["RoleArn"], "scheduler", self._group_arn(key[0])) is None:
            raise ApiError("ValidationException", "The execution role must allow Scheduler to assume the role.")
        (written,) = re.fullmatch(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", asked["ScheduleExpression"]).groups()
        due = datetime.strptime(f"{written}+0000", "%Y-%m-%dT%H:%M:%S%z").timestamp()
        if due <= self.clock.now:
            raise ApiError("ValidationException", "The time is in the past.")
        self.schedules[key] = asked
        self.clock.after(due - self.clock.now, lambda: self._fire(key, asked))
        return {"ScheduleArn": arn}

    def get_schedule(self, asked: dict[str, Any]) -> dict[str, Any]:
        key = asked["groupName"], asked["Name"]
        if key not in self.schedules:
            raise ApiError("ResourceNotFoundException", f"there is no schedule {key[1]}", 404)
        return {"State": "ENABLED"} | {k: v for k, v in self.schedules[key].items() if k != "ClientToken"}

    def delete_schedule(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.get_schedule(asked)
        del self.schedules[asked["groupName"], asked["Name"]]
        return {}

    def delete_schedule_group(self, asked: dict[str, Any]) -> dict[str, Any]:
        group = self._group(asked["Name"])
        if group.going:
            raise ApiError("ConflictException", "the group is being deleted", 409)
        group.going = True
        self._note(asked["Name"], group.tags)
        for key in [key for key in self.schedules if key[0] == asked["Name"]]:
            del self.schedules[key]
        self.clock.after(GROUP_GONE, lambda: self.groups.pop(asked["Name"]))
        return {}

    def list_group_tags(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": self._group(asked["ResourceArn"].rpartition("/")[2]).tags}

    def _group_arn(self, name: str) -> str:
        return f"arn:aws:scheduler:{self.region}:{self.account}:schedule-group/{name}"

    def _group(self, name: str) -> Group:
        if name not in self.groups:
            raise ApiError("ResourceNotFoundException", f"there is no group {name}", 404)
        return self.groups[name]

    def _fire(self, key: tuple[str, str], asked: dict[str, Any]) -> None:
        """Start what a schedule names, if the schedule still stands and its role may."""
        if self.schedules.get(key) is not asked:
            return
        target = asked["Target"]
        role = self._assumed(target["RoleArn"], "scheduler", self._group_arn(key[0]))
        machine = self.machines.get(target["Arn"])
        if role is None or machine is None or not role.allows("states:StartExecution", target["Arn"]):
            self.missed.append(key[1])
            return
        self._execute(target["Arn"], machine, json.loads(target["Input"]))

    def _execute(self, arn: str, machine: Machine, given: Any) -> None:
        def call(service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
            role = self._assumed(machine.role, "states", arn)
            if role is None:
                raise ApiError("States.TaskFailed", "the role cannot be assumed")
            return self.invoke(role, service, operation, parameters)

        execution = Execution(json.loads(machine.definition), call, self.clock, alive=lambda: not machine.going)
        self.executions.append((arn, execution))
        execution.start(given)

    def start_execution(self, asked: dict[str, Any]) -> dict[str, Any]:
        arn = asked["StateMachineArn"]
        machine = self._machine(arn, "StateMachineDoesNotExist")
        # The one that starts it goes on first.
        self.clock.after(0, lambda: self._execute(arn, machine, json.loads(asked["Input"])))
        return {"ExecutionArn": f"{arn}:{len(self.executions)}", "StartDate": self.clock.now}

    def list_executions(self, asked: dict[str, Any]) -> dict[str, Any]:
        arn = asked["stateMachineArn"]
        self._machine(arn, "StateMachineDoesNotExist")
        shown = [
            {
                "executionArn": f"{arn}:{number}",
                "stateMachineArn": arn,
                "name": str(number),
                "status": execution.status,
                "startDate": self.clock.now,
            }
            for number, (of, execution) in enumerate(self.executions)
            if of == arn
        ]
        return {"executions": shown[::-1][: asked.get("maxResults", 100)]}

    def _note(self, name: str, tags: list[dict[str, str]]) -> None:
        self.deleted.append((name, plain(tags)))


def plain(tags: list[dict[str, str]]) -> dict[str, str]:
    """Tags as a dictionary, whichever way a service spells them."""
    return {tag.get("Key", tag.get("key")): tag.get("Value", tag.get("value")) for tag in tags}
