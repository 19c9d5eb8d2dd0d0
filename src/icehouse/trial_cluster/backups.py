"""The backups that AWS keeps of a cluster: for days after it is gone, and the last one until somebody deletes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icehouse.trial_cluster.aws import Aws

_KEPT = frozenset({"CREATE_IN_PROGRESS", "READY"})


def kept(aws: Aws, clusters: Iterable[str]) -> list[str]:
    """The backups of these clusters that nobody has deleted."""
    names = sorted(clusters)
    backups: list[str] = []
    asked: dict[str, Any] = {"Filters": {"clusterIds": names}}
    while names:
        answer = aws.call("cloudhsmv2", "describe_backups", **asked)
        backups += [each["BackupId"] for each in answer.get("Backups", ()) if each["BackupState"] in _KEPT]
        if not answer.get("NextToken"):
            break
        asked["NextToken"] = answer["NextToken"]
    return backups
