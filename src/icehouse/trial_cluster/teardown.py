"""The end that comes by itself: a state machine in AWS that a one-time schedule starts, armed before the first HSM."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from icehouse.errors import ConflictError
from icehouse.trial_cluster.armed import MISSING, faults, role, schedule
from icehouse.trial_cluster.machine import PAUSE, definition, machine_arn
from icehouse.trial_cluster.record import CLUSTER_TAG, ENDS_TAG, REGION_TAG, TAG
from icehouse.trial_cluster.role import POLICY, group_arn, policy, role_arn, trust

if TYPE_CHECKING:
    from icehouse.trial_cluster.aws import Aws
    from icehouse.trial_cluster.record import Record

__all__ = ["PAUSE", "arm", "arming", "definition", "disarm", "is_armed", "left", "role_tags"]

_LOOKS = 10
_EXISTS = ("EntityAlreadyExists", "StateMachineAlreadyExists", "ConflictException")
_ROLE_IS_NEW = ("AccessDeniedException", "ValidationException")
"""What Step Functions and EventBridge Scheduler say of a role that IAM has not yet told them of."""


def role_tags(record: Record) -> list[dict[str, str]]:
    """What the role says of its run, for whoever has lost its directory: IAM knows no regions."""
    tags = {TAG: record.run, REGION_TAG: record.region, CLUSTER_TAG: record.cluster, ENDS_TAG: str(record.ends_at)}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def arming(record: Record) -> list[tuple[str, str, dict[str, Any]]]:
    """The calls that arm the teardown, in order; each may be repeated."""
    name, tags = record.name, [{"Key": TAG, "Value": record.run}]
    document = json.dumps(policy(record))
    machine = {
        "name": name,
        "definition": json.dumps(definition(record)),
        "roleArn": role_arn(record),
        "type": "STANDARD",
        "tags": [{"key": TAG, "value": record.run}],
    }
    new_role = {"RoleName": name, "AssumeRolePolicyDocument": json.dumps(trust(record)), "Tags": role_tags(record)}
    return [
        ("iam", "create_role", new_role),
        ("iam", "put_role_policy", {"RoleName": name, "PolicyName": POLICY, "PolicyDocument": document}),
        ("stepfunctions", "create_state_machine", machine),
        ("scheduler", "create_schedule_group", {"Name": name, "Tags": tags, "ClientToken": record.run}),
        ("scheduler", "create_schedule", {**schedule(record), "ClientToken": record.run}),
    ]


def is_armed(aws: Aws, record: Record) -> bool:
    """Whether every part of the teardown is as this run made it."""
    return not faults(aws, record)


def arm(aws: Aws, record: Record) -> None:
    """Arm the teardown, or what of it is not there yet. Raises `ConflictError` where something else has its name."""
    for service, operation, parameters in arming(record):
        later = _ROLE_IS_NEW if service != "iam" else ()
        aws.call(service, operation, but=_EXISTS, later=later, **parameters)
    for _ in range(_LOOKS):
        wrong = faults(aws, record)
        if not wrong:
            return
        aws.wait()  # what IAM has just taken, it may show only later
    msg = f"the teardown {record.name} in AWS is not the one of this run: {'; '.join(wrong)}"
    raise ConflictError(msg, hint="end the run with 'icehouse cloudhsm down'")


def disarm(aws: Aws, record: Record) -> None:
    """Delete the schedule, its group, the state machine and the role, each only if it carries the run's tag."""
    ours = left(aws, record)
    if ours.get("schedule group"):
        aws.call("scheduler", "delete_schedule", but=MISSING, Name=record.name, GroupName=record.name)
        aws.call("scheduler", "delete_schedule_group", but=(*MISSING, "ConflictException"), Name=record.name)
    if ours.get("state machine"):
        aws.call("stepfunctions", "delete_state_machine", stateMachineArn=machine_arn(record))
    if ours.get("role"):
        aws.call("iam", "delete_role_policy", but=MISSING, RoleName=record.name, PolicyName=POLICY)
        aws.call("iam", "delete_role", but=MISSING, RoleName=record.name)


def left(aws: Aws, record: Record) -> dict[str, bool]:
    """The parts of the teardown that AWS still has, and whether each carries the run's tag."""
    group = aws.call("scheduler", "list_tags_for_resource", but=MISSING, ResourceArn=group_arn(record))
    machine = aws.call("stepfunctions", "list_tags_for_resource", but=MISSING, resourceArn=machine_arn(record))
    parts = {
        "schedule group": {tag["Key"]: tag["Value"] for tag in group.get("Tags", ())} if group else None,
        "state machine": {tag["key"]: tag["value"] for tag in machine.get("tags", ())} if machine else None,
        "role": {tag["Key"]: tag["Value"] for tag in held.get("Tags", ())} if (held := role(aws, record)) else None,
    }
    return {part: tags.get(TAG) == record.run for part, tags in parts.items() if tags is not None}
