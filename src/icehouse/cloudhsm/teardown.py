"""The end that comes by itself: a state machine in AWS that a one-time schedule starts, armed before the first HSM.

It deletes the HSMs, tries to delete the cluster, waits, and looks again, until the cluster is gone: an HSM that was
made in between is found at the next look, and a cluster that still has one is not deleted by AWS. It knows one cluster
by its id and can, by its role, delete nothing else.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from icehouse.cloudhsm.record import TAG
from icehouse.errors import ConflictError

if TYPE_CHECKING:
    from icehouse.cloudhsm.aws import Aws
    from icehouse.cloudhsm.record import Record

PAUSE = 30
"""Seconds between two looks of the state machine."""
_LONGEST = 24 * 3600
_MISSING = ("NoSuchEntity", "ResourceNotFoundException", "StateMachineDoesNotExist")
_EXISTS = ("EntityAlreadyExists", "StateMachineAlreadyExists", "ConflictException")
_ROLE_IS_NEW = ("AccessDeniedException", "ValidationException")
"""What Step Functions and EventBridge Scheduler say of a role that IAM has not yet told them of."""
_RETRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 5, "MaxAttempts": 3, "BackoffRate": 2}]


def _task(operation: str, parameters: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::aws-sdk:cloudhsmv2:{operation}",
        "Parameters": parameters,
        "Retry": _RETRY,
        **after,
    }


def definition(record: Record) -> dict[str, Any]:
    """The state machine, in the Amazon States Language."""
    cluster = record.cluster
    try_later: dict[str, object] = {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Wait"}], "Next": "Wait"}
    first = "$.Clusters[0]"
    each = {
        "StartAt": "Is it going",
        "States": {
            "Is it going": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.State", "StringEquals": state, "Next": "Leave it"}
                    for state in ("DELETE_IN_PROGRESS", "DELETED")
                ],
                "Default": "Delete the HSM",
            },
            "Delete the HSM": _task(
                "deleteHsm",
                {"ClusterId": cluster, "HsmId.$": "$.HsmId"},
                {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Leave it"}], "End": True},
            ),
            "Leave it": {"Type": "Pass", "End": True},
        },
    }
    states = {
        "Look": _task("describeClusters", {"Filters": {"clusterIds": [cluster]}}, try_later | {"Next": "Is it there"}),
        "Is it there": {
            "Type": "Choice",
            "Choices": [
                {"Variable": first, "IsPresent": False, "Next": "Gone"},
                {"Variable": f"{first}.State", "StringEquals": "DELETED", "Next": "Gone"},
                {"Variable": f"{first}.Hsms[0]", "IsPresent": True, "Next": "Delete its HSMs"},
            ],
            "Default": "Delete the cluster",
        },
        "Delete its HSMs": {
            "Type": "Map",
            "ItemsPath": f"{first}.Hsms",
            "ItemProcessor": each,
            "ResultPath": None,
            "Next": "Delete the cluster",
        },
        # Refused while there are HSMs; then the next look decides again.
        "Delete the cluster": _task("deleteCluster", {"ClusterId": cluster}, try_later),
        "Wait": {"Type": "Wait", "Seconds": PAUSE, "Next": "Look"},
        "Gone": {"Type": "Succeed"},
    }
    return {
        "Comment": f"Deletes {cluster} of run {record.run}",
        "StartAt": "Look",
        "TimeoutSeconds": _LONGEST,
        "States": states,
    }


def machine_arn(record: Record) -> str:
    """The ARN that the state machine will have."""
    return record.arn("states", f"stateMachine:{record.name}")


def role_arn(record: Record) -> str:
    """The ARN that the role will have."""
    return record.arn("iam", f"role/{record.name}")


def group_arn(record: Record) -> str:
    """The ARN that the schedule's group will have: schedules themselves carry no tags."""
    return record.arn("scheduler", f"schedule-group/{record.name}")


def _role_policy(record: Record) -> dict[str, object]:
    cluster = record.arn("cloudhsm", f"cluster/{record.cluster}")
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "cloudhsm:DescribeClusters", "Resource": "*"},
            {"Effect": "Allow", "Action": ["cloudhsm:DeleteHsm", "cloudhsm:DeleteCluster"], "Resource": cluster},
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": machine_arn(record)},
        ],
    }


def _trust() -> dict[str, object]:
    services = ["scheduler.amazonaws.com", "states.amazonaws.com"]
    statement = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def schedule(record: Record) -> dict[str, object]:
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
            "Input": json.dumps({"run": record.run, "cluster": record.cluster}),
        },
    }


def arming(record: Record) -> list[tuple[str, str, dict[str, object]]]:
    """The calls that arm the teardown, in order; each may be repeated."""
    tags = [{"Key": TAG, "Value": record.run}]
    return [
        (
            "iam",
            "create_role",
            {"RoleName": record.name, "AssumeRolePolicyDocument": json.dumps(_trust()), "Tags": tags},
        ),
        (
            "iam",
            "put_role_policy",
            {
                "RoleName": record.name,
                "PolicyName": "teardown",
                "PolicyDocument": json.dumps(_role_policy(record)),
            },
        ),
        (
            "stepfunctions",
            "create_state_machine",
            {
                "name": record.name,
                "definition": json.dumps(definition(record)),
                "roleArn": role_arn(record),
                "type": "STANDARD",
                "tags": [{"key": TAG, "value": record.run}],
            },
        ),
        ("scheduler", "create_schedule_group", {"Name": record.name, "Tags": tags, "ClientToken": record.run}),
        ("scheduler", "create_schedule", {**schedule(record), "ClientToken": record.run}),
    ]


def is_armed(aws: Aws, record: Record) -> bool:
    """Whether the schedule stands, will start this run's state machine, and the machine does what it should."""
    found = aws.call("scheduler", "get_schedule", but=_MISSING, Name=record.name, GroupName=record.name)
    wanted = schedule(record)
    if not found or found.get("State") == "DISABLED" or found["ScheduleExpression"] != wanted["ScheduleExpression"]:
        return False
    if {name: found["Target"].get(name) for name in ("Arn", "RoleArn", "Input")} != wanted["Target"]:
        return False
    machine = aws.call("stepfunctions", "describe_state_machine", but=_MISSING, stateMachineArn=machine_arn(record))
    return bool(machine) and json.loads(machine["definition"]) == definition(record)


def arm(aws: Aws, record: Record) -> None:
    """Arm the teardown, or what of it is not there yet. Raises `ConflictError` where something else has its name."""
    for service, operation, parameters in arming(record):
        later = _ROLE_IS_NEW if service != "iam" else ()
        aws.call(service, operation, but=_EXISTS, later=later, **parameters)
    if not is_armed(aws, record):
        msg = f"the teardown {record.name} in AWS is not the one of this run"
        raise ConflictError(msg, hint="end the run with 'icehouse cloudhsm down'")


def disarm(aws: Aws, record: Record) -> None:
    """Delete the schedule, its group, the state machine and the role, each only if it carries the run's tag."""
    if _own_group(aws, record):
        aws.call("scheduler", "delete_schedule", but=_MISSING, Name=record.name, GroupName=record.name)
        aws.call("scheduler", "delete_schedule_group", but=(*_MISSING, "ConflictException"), Name=record.name)
    if _own_machine(aws, record):
        aws.call("stepfunctions", "delete_state_machine", stateMachineArn=machine_arn(record))
    if _own_role(aws, record):
        aws.call("iam", "delete_role_policy", but=_MISSING, RoleName=record.name, PolicyName="teardown")
        aws.call("iam", "delete_role", but=_MISSING, RoleName=record.name)


def is_disarmed(aws: Aws, record: Record) -> bool:
    """Whether nothing of the teardown is left; what AWS is still deleting counts as left."""
    return not (_own_group(aws, record) or _own_machine(aws, record) or _own_role(aws, record))


def _own_group(aws: Aws, record: Record) -> bool:
    found = aws.call("scheduler", "list_tags_for_resource", but=_MISSING, ResourceArn=group_arn(record))
    return {"Key": TAG, "Value": record.run} in found.get("Tags", ())


def _own_machine(aws: Aws, record: Record) -> bool:
    found = aws.call(
        "stepfunctions", "list_tags_for_resource", but=(*_MISSING, "ResourceNotFound"), resourceArn=machine_arn(record)
    )
    return {"key": TAG, "value": record.run} in found.get("tags", ())


def _own_role(aws: Aws, record: Record) -> bool:
    found = aws.call("iam", "list_role_tags", but=_MISSING, RoleName=record.name)
    return {"Key": TAG, "Value": record.run} in found.get("Tags", ())
