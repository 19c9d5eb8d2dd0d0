"""A run whose directory is lost: what AWS itself says of it, by its name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse.errors import RequestError
from icehouse.trial_cluster import armed, teardown
from icehouse.trial_cluster.cluster import tagged
from icehouse.trial_cluster.record import CLUSTER_TAG, ENDS_TAG, REGION_TAG, TAG, Record
from icehouse.trial_cluster.wanted import Wanted

if TYPE_CHECKING:
    from icehouse.trial_cluster.aws import Aws

_MACHINE = re.compile(r'"arn:[\w-]+:states:([\w-]+):\d+:stateMachine:')


def named(run: str, where: tuple[str, str, str]) -> Record:
    """What is known of a run by its name alone."""
    if not re.fullmatch(r"[0-9a-f]{16}", run, re.ASCII):
        msg = f"a run is named by 16 hexadecimal digits, not {run!r}"
        raise RequestError(msg)
    return Record(run, *where, Wanted(3600, ("subnet-00000000",), 1), 0, 0)


def home(aws: Aws, record: Record) -> str:
    """The region that the run's role names, in its tags or, where these were removed, in its trust; else nothing."""
    role = armed.role(aws, record)
    tags = {tag["Key"]: tag["Value"] for tag in role.get("Tags", ())}
    trusted = _MACHINE.search(json.dumps(role.get("AssumeRolePolicyDocument", {})))
    return tags.get(REGION_TAG, "") or (trusted[1] if trusted else "")


def traced(aws: Aws, record: Record) -> Record:
    """The run with what its role, its schedule and its clusters say of it.

    Raises `RequestError` where nothing proves that it is in this region: the role alone, which is in none, does not.
    """
    region = home(aws, record)
    clusters = [cluster for run, cluster in tagged(aws) if run == record.run]
    parts = teardown.left(aws, record)
    here = clusters or "schedule group" in parts or "state machine" in parts
    if region != aws.region and not here:
        msg = f"nothing of run {record.run} is in {aws.region}; looked in its clusters, state machines and schedules"
        if region:
            msg = f"{msg}; its role says that it is in {region}"
            raise RequestError(msg, hint=f"name that region: --region {region}")
        hint = f"is the run's name right, and its region? nothing was changed ('status --region {aws.region}' lists)"
        raise RequestError(msg, hint=hint)
    tags = {tag["Key"]: tag["Value"] for tag in armed.role(aws, record).get("Tags", ())}
    schedule = aws.call("scheduler", "get_schedule", but=armed.MISSING, Name=record.name, GroupName=record.name)
    given = json.loads(schedule["Target"].get("Input", "{}")) if schedule else {}
    tags = tags if tags.get(TAG) == record.run else {}
    cluster = given.get("cluster") or tags.get(CLUSTER_TAG) or (clusters[0].cluster if clusters else "")
    ends_at = tags.get(ENDS_TAG) or (str(clusters[0].ends_at) if clusters else "")
    return replace(record, cluster=cluster, ends_at=int(ends_at) if ends_at.isdecimal() else 0)
