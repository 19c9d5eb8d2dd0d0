"""Clusters and HSMs as AWS describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icehouse.trial_cluster.record import DOWN_TAG, ENDS_TAG, TAG

if TYPE_CHECKING:
    from icehouse.trial_cluster.aws import Aws
    from icehouse.trial_cluster.record import Record

SETTLING = 300
"""Seconds in which AWS may not yet show what it has made.

The control plane's answers come from copies; AWS does not say how old these may be. An HSM takes longer to be made.
"""
BUSY = frozenset(
    {"CREATE_IN_PROGRESS", "INITIALIZE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "MODIFY_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"}
)
_GOING = frozenset({"DELETE_IN_PROGRESS", "DELETED"})


@dataclass(frozen=True, slots=True)
class Hsm:
    """An HSM; it is billed until it is gone. `message` is what AWS says of its state."""

    hsm: str
    state: str
    zone: str
    address: str = ""
    message: str = ""

    @property
    def going(self) -> bool:
        """Whether its deletion has begun."""
        return self.state in _GOING

    @property
    def words(self) -> str:
        """What AWS says of it."""
        return f"{self.hsm} is {self.state}" + (f": {self.message}" if self.message else "")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, and its HSMs: those that are not gone, and those of which AWS still says that they are."""

    cluster: str
    state: str
    message: str
    zones: tuple[str, ...]
    hsms: tuple[Hsm, ...]
    csr: str
    created_at: float
    gone: tuple[Hsm, ...] = ()
    run: str = ""
    """The run that its tag names."""
    ends_at: int = 0
    down: bool = False
    """Whether a `down` has begun with it."""

    @property
    def going(self) -> bool:
        """Whether its deletion has begun."""
        return self.state in _GOING

    @classmethod
    def parse(cls, described: dict[str, Any]) -> Cluster:
        """A cluster from `DescribeClusters`."""
        hsms = [
            Hsm(
                each["HsmId"],
                each["State"],
                each.get("AvailabilityZone", ""),
                each.get("EniIp", ""),
                each.get("StateMessage", ""),
            )
            for each in described.get("Hsms", ())
        ]
        tags = {tag["Key"]: tag["Value"] for tag in described.get("TagList", ())}
        created, ends_at = described.get("CreateTimestamp"), tags.get(ENDS_TAG, "")
        return cls(
            described["ClusterId"],
            described["State"],
            described.get("StateMessage", ""),
            tuple(sorted(described.get("SubnetMapping", {}))),
            tuple(hsm for hsm in hsms if hsm.state != "DELETED"),
            described.get("Certificates", {}).get("ClusterCsr", ""),
            created.timestamp() if created else 0.0,
            tuple(hsm for hsm in hsms if hsm.state == "DELETED"),
            tags.get(TAG, ""),
            int(ends_at) if ends_at.isdecimal() else 0,
            DOWN_TAG in tags,
        )


def settling(aws: Aws, since: int) -> bool:
    """Whether AWS may not yet show what it was asked for then."""
    return bool(since) and aws.now - since < SETTLING


def tagged(aws: Aws) -> list[tuple[str, Cluster]]:
    """Every cluster that a run of icehouse made here and that is not gone, with its run; the oldest first."""
    clusters = sorted(_listed(aws), key=lambda each: (each.created_at, each.cluster))
    return [(each.run, each) for each in clusters if each.run]


def of_run(aws: Aws, record: Record) -> list[Cluster]:
    """The clusters of one run: one, or more where an answer was lost; the oldest first.

    The one that the record knows by its id is among them whatever its tags say, for as long as AWS knows it.
    """
    clusters = sorted(_listed(aws), key=lambda each: (each.created_at, each.cluster))
    ours = [each for each in clusters if record.run == each.run or record.cluster == each.cluster]
    if record.cluster and record.cluster not in {each.cluster for each in ours}:
        # A list of several pages may change between them: a cluster is gone only where AWS, asked for it, says so.
        ours += _listed(aws, Filters={"clusterIds": [record.cluster]})
    return ours


def _listed(aws: Aws, **asked: Any) -> list[Cluster]:  # noqa: ANN401  whatever AWS names
    """The clusters that are not gone."""
    listed: list[Cluster] = []
    while True:
        answer = aws.call("cloudhsmv2", "describe_clusters", **asked)
        listed += [Cluster.parse(each) for each in answer.get("Clusters", ()) if each["State"] != "DELETED"]
        if not answer.get("NextToken"):
            return listed
        asked["NextToken"] = answer["NextToken"]
