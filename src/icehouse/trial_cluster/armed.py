"""Looking at the teardown that AWS holds: each part of it, and whether it is at work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from icehouse.trial_cluster.machine import definition, execution_input, machine_arn
from icehouse.trial_cluster.role import POLICY, policy, role_arn, trust

if TYPE_CHECKING:
    from icehouse.trial_cluster.aws import Aws
    from icehouse.trial_cluster.record import Record

MISSING = (
    "NoSuchEntity",
    "NoSuchEntityException",
    "ResourceNotFoundException",
    "ResourceNotFound",
    "StateMachineDoesNotExist",
)


@dataclass(frozen=True, slots=True)
class Teardown:
    """What AWS holds of a run's teardown: what is wrong with it, when it comes, and how it went so far."""

    faults: tuple[str, ...]
    comes_at: int
    course: str
    """The status of its last execution; nothing before the first."""
    now: int

    @property
    def armed(self) -> bool:
        """Whether it will come, or is at work."""
        return not self.faults and (self.comes_at > self.now or self.course == "RUNNING")

    @property
    def words(self) -> str:
        """Its state in words."""
        when = datetime.fromtimestamp(self.comes_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        course = f"its last execution is {self.course}" if self.course else "it has not begun"
        return f"due {when}; {'; '.join((*self.faults, course))}"


def schedule(record: Record) -> dict[str, Any]:
    """The one-time schedule."""
    at = datetime.fromtimestamp(record.ends_at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {
        "Name": record.name,
        "GroupName": record.name,
        "ScheduleExpression": f"at({at})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": machine_arn(record),
            "RoleArn": role_arn(record),
            "Input": execution_input(record),
        },
    }


def look(aws: Aws, record: Record) -> Teardown:
    """Look at every part, and at the machine's last execution."""
    last = aws.call(
        "stepfunctions", "list_executions", but=MISSING, stateMachineArn=machine_arn(record), maxResults=1
    ).get("executions", ())
    return Teardown(faults(aws, record), record.ends_at, last[0]["status"] if last else "", aws.now)


def faults(aws: Aws, record: Record) -> tuple[str, ...]:
    """What would keep the teardown from its work; nothing where every part is as this run made it."""
    return (*_role(aws, record), *_machine(aws, record), *_schedule(aws, record))


def role(aws: Aws, record: Record) -> dict[str, Any]:
    """The role, if there is one."""
    described: dict[str, Any] = aws.call("iam", "get_role", but=MISSING, RoleName=record.name).get("Role", {})
    return described


def _role(aws: Aws, record: Record) -> tuple[str, ...]:
    described = role(aws, record)
    if not described:
        return ("its role is gone",)
    held = aws.call("iam", "get_role_policy", but=MISSING, RoleName=record.name, PolicyName=POLICY)
    rules = {
        "its role trusts others than it should": _document(described.get("AssumeRolePolicyDocument")) == trust(record),
        "its role may do other things than it should": _document(held.get("PolicyDocument")) == policy(record),
        "its role is held to a boundary of permissions": not described.get("PermissionsBoundary"),
    }
    return tuple(words for words, holds in rules.items() if not holds)


def _document(document: Any) -> Any:  # noqa: ANN401  botocore decodes it, unless it comes otherwise
    return json.loads(document) if isinstance(document, str) else document


def _machine(aws: Aws, record: Record) -> tuple[str, ...]:
    held = aws.call("stepfunctions", "describe_state_machine", but=MISSING, stateMachineArn=machine_arn(record))
    if held.get("status") != "ACTIVE":
        return ("its state machine is gone",)
    same = json.loads(held["definition"]) == definition(record) and held["roleArn"] == role_arn(record)
    return () if same else ("its state machine was changed",)


def _schedule(aws: Aws, record: Record) -> tuple[str, ...]:
    held = aws.call("scheduler", "get_schedule", but=MISSING, Name=record.name, GroupName=record.name)
    if not held:
        return ("its schedule is gone",)
    if held.get("State") == "DISABLED":
        return ("its schedule is disabled",)
    wanted = schedule(record)
    names = ("ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow")
    target = {name: held["Target"].get(name) for name in wanted["Target"]}
    if target != wanted["Target"] or any(held.get(name, wanted[name]) != wanted[name] for name in names):
        return ("its schedule was changed",)
    return ()
