"""The role of the teardown: who may take it, and what it may do.

AWS's page of actions (https://docs.aws.amazon.com/service-authorization/latest/reference/list_cloudhsm.html, read in
November 2026) gives DeleteHsm no resource type, so that it can be allowed for all resources only; to DeleteHsm belongs
`ec2:DeleteNetworkInterface`, to DeleteCluster that and `ec2:DeleteSecurityGroup`. What is deleted, the state machine's
definition says, and the role is trusted to that machine and its schedule's group alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icehouse.trial_cluster.machine import machine_arn

if TYPE_CHECKING:
    from icehouse.trial_cluster.record import Record

POLICY = "teardown"
_SCHEDULER, _STATES = "scheduler.amazonaws.com", "states.amazonaws.com"


def role_arn(record: Record) -> str:
    """The ARN that the role will have."""
    return record.arn("iam", f"role/{record.name}")


def group_arn(record: Record) -> str:
    """The ARN that the schedule's group will have: schedules themselves carry no tags."""
    return record.arn("scheduler", f"schedule-group/{record.name}")


def trust(record: Record) -> dict[str, Any]:
    """Each service may take the role, for what it does in this account for this run."""
    # EventBridge Scheduler compares with the group's ARN, not with the schedule's (its user guide, confused deputy).
    sources = {_SCHEDULER: group_arn(record), _STATES: machine_arn(record)}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": record.account},
                    "ArnLike": {"aws:SourceArn": source},
                },
            }
            for service, source in sources.items()
        ],
    }


def policy(record: Record) -> dict[str, Any]:
    """What the role may do."""
    network = ["ec2:DeleteNetworkInterface", "ec2:DeleteSecurityGroup"]
    everywhere = ["cloudhsm:DescribeClusters", "cloudhsm:DeleteHsm", *network]
    cluster = record.arn("cloudhsm", f"cluster/{record.cluster}")
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": everywhere, "Resource": "*"},
            {"Effect": "Allow", "Action": "cloudhsm:DeleteCluster", "Resource": cluster},
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": machine_arn(record)},
        ],
    }
