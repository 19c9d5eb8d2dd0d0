"""Ending a run: its HSMs first, then its clusters, and last the teardown that would have done the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.cloudhsm import teardown
from icehouse.cloudhsm.cluster import of_run
from icehouse.cloudhsm.steps import until_done

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.cloudhsm.aws import Aws
    from icehouse.cloudhsm.cluster import Cluster
    from icehouse.cloudhsm.record import Record

_GONE = ("CloudHsmResourceNotFoundException",)
_NOT_YET = (*_GONE, "CloudHsmInvalidRequestException")
"""What is being made, or still has HSMs, is refused; the next look tries again."""


def lower(aws: Aws, record: Record, say: Callable[[str], None]) -> None:
    """Delete everything of a run, and return when AWS says that nothing is left."""
    said: set[str] = set()

    def tell(words: str) -> None:
        if words not in said:
            said.add(words)
            say(words)

    # The teardown stays armed until there is nothing left for it to do.
    until_done(aws, lambda: _step(aws, of_run(aws, record), tell))
    tell(f"disarming the teardown {record.name}")
    until_done(aws, lambda: _disarmed(aws, record))


def _step(aws: Aws, clusters: list[Cluster], tell: Callable[[str], None]) -> bool:
    for cluster in clusters:
        for hsm in cluster.hsms:
            if not hsm.going:
                tell(f"deleting {hsm.hsm} of {cluster.cluster}")
                aws.call("cloudhsmv2", "delete_hsm", but=_NOT_YET, ClusterId=cluster.cluster, HsmId=hsm.hsm)
        if not cluster.hsms and not cluster.going:
            tell(f"deleting {cluster.cluster}")
            aws.call("cloudhsmv2", "delete_cluster", but=_NOT_YET, ClusterId=cluster.cluster)
    return not clusters


def _disarmed(aws: Aws, record: Record) -> bool:
    if teardown.is_disarmed(aws, record):
        return True
    teardown.disarm(aws, record)
    return teardown.is_disarmed(aws, record)
