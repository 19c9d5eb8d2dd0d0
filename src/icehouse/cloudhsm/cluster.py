"""Clusters and HSMs as AWS describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icehouse.cloudhsm.record import TAG

if TYPE_CHECKING:
    from icehouse.cloudhsm.aws import Aws
    from icehouse.cloudhsm.record import Record

_GOING = frozenset({"DELETE_IN_PROGRESS", "DELETED"})


@dataclass(frozen=True, slots=True)
class Hsm:
    """An HSM; it is billed until it is gone."""

    hsm: str
    state: str
    zone: str
    address: str = ""

    @property
    def going(self) -> bool:
        """Whether its deletion has begun."""
        return self.state in _GOING


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of ours, and the HSMs that are not gone."""

    cluster: str
    state: str
    message: str
    zones: tuple[str, ...]
    hsms: tuple[Hsm, ...]
    csr: str
    created_at: float

    @property
    def going(self) -> bool:
        """Whether its deletion has begun."""
        return self.state in _GOING

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Cluster:
        """A cluster from `DescribeClusters`."""
        hsms = tuple(
            Hsm(each["HsmId"], each["State"], each.get("AvailabilityZone", ""), each.get("EniIp", ""))
            for each in found.get("Hsms", ())
            if each["State"] != "DELETED"
        )
        created = found.get("CreateTimestamp")
        return cls(
            found["ClusterId"],
            found["State"],
            found.get("StateMessage", ""),
            tuple(sorted(found.get("SubnetMapping", {}))),
            hsms,
            found.get("Certificates", {}).get("ClusterCsr", ""),
            created.timestamp() if created else 0.0,
        )


def tagged(aws: Aws) -> list[tuple[str, Cluster]]:
    """Every cluster that a run of icehouse made here and that is not gone, with its run; the oldest first."""
    found = []
    for each in _pages(aws):
        tags = {tag["Key"]: tag["Value"] for tag in each.get("TagList", ())}
        if TAG in tags and each["State"] != "DELETED":
            found.append((tags[TAG], Cluster.parse(each)))
    return sorted(found, key=lambda pair: (pair[1].created_at, pair[1].cluster))


def of_run(aws: Aws, record: Record) -> list[Cluster]:
    """The clusters of one run: one, or more where an answer was lost; the oldest first."""
    return [cluster for run, cluster in tagged(aws) if run == record.run]


def _pages(aws: Aws) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, object] = {}
    while True:
        answer = aws.call("cloudhsmv2", "describe_clusters", **more)
        found += answer.get("Clusters", ())
        if not answer.get("NextToken"):
            return found
        more = {"NextToken": answer["NextToken"]}
