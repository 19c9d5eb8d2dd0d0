"""The control plane of AWS CloudHSM: clusters and HSMs and their states, at the speed of a clock of its own.

A cluster is CREATE_IN_PROGRESS, then UNINITIALIZED; its first HSM makes a certificate signing request; the signed
certificate makes it INITIALIZE_IN_PROGRESS, then INITIALIZED; whoever activates it makes it ACTIVE. HSMs must be gone
before their cluster, nothing that is being made can be deleted, and every deletion takes time. What is described may
be as old as `lag`; what is changed is not. Backups stay when a cluster is gone.
"""

from __future__ import annotations

import json
import random
import secrets
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from servers.aws_clock import ApiError
from servers.cloudhsm_backups import Backups
from servers.cloudhsm_claim import check_claim, signing_request

if TYPE_CHECKING:
    from servers.aws_clock import Clock

CLUSTER_MADE, HSM_MADE, CSR_MADE, INITIALISED = 90, 420, 360, 240
HSM_GONE, CLUSTER_GONE, REMEMBERED = 240, 120, 600
"""Seconds."""
ZONES = {"subnet-0000000a": "us-east-1a", "subnet-0000000b": "us-east-1b", "subnet-0000000c": "us-east-1c"}
PAGE = 2
_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"


@dataclass
class Hsm:
    hsm: str
    zone: str
    subnet: str
    state: str = "CREATE_IN_PROGRESS"
    born: float = 0
    died: float | None = None
    message: str = ""


@dataclass
class Cluster:
    cluster: str
    subnets: dict[str, str]
    tags: dict[str, str]
    mode: str
    made: float
    state: str = "CREATE_IN_PROGRESS"
    hsms: list[Hsm] = field(default_factory=list)
    csr: str = ""
    signed: str = ""
    root: str = ""


class CloudHsm:
    """The service. `later_hsms_need_activation` makes it refuse the second HSM until the cluster is ACTIVE.

    `lag` is how many seconds old an answer of DescribeClusters may be; `failing` holds what AWS says of the next HSMs
    whose making fails, in the middle of it.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.clusters: dict[str, Cluster] = {}
        self.deleted: list[tuple[str, dict[str, str]]] = []
        """Whatever a request asked to delete, and the tags it carried."""
        self.every_hsm: list[Hsm] = []
        self.most_hsms = 28
        self.lag: float = 0
        self.chance = random.Random("which copy answers")  # noqa: S311  the same every time
        self.failing: list[str] = []
        self.backups = Backups(clock)
        self._past: list[tuple[float, list[dict[str, Any]]]] = []
        self.later_hsms_need_activation = False

    # What a test asks and does

    @property
    def billed(self) -> list[Hsm]:
        """The HSMs that cost money now."""
        return [hsm for hsm in self.every_hsm if hsm.died is None]

    @property
    def living(self) -> list[Cluster]:
        return [cluster for cluster in self.clusters.values() if cluster.state != "DELETED"]

    def activate(self, cluster: str) -> None:
        """What the first admin does with the CloudHSM CLI."""
        found = self.clusters[cluster]
        assert found.state == "INITIALIZED"
        assert any(hsm.state == "ACTIVE" for hsm in found.hsms)
        found.state = "ACTIVE"

    def delete_behind(self, hsm: Hsm) -> None:
        """What somebody does to an HSM in AWS's console."""
        if hsm.state not in {"CREATE_IN_PROGRESS", "ACTIVE"}:
            return
        cluster = next(each for each in self.clusters.values() if hsm in each.hsms)
        hsm.state = "DELETE_IN_PROGRESS"
        self.clock.after(HSM_GONE, lambda: self._forget(cluster, hsm))

    def remember(self) -> None:
        """Keep what is to be seen now, for answers that come late."""
        if self.lag:
            self._past.append((self.clock.now, deepcopy([self._shown(each) for each in self.clusters.values()])))
            self._past = [each for each in self._past if each[0] >= self.clock.now - 2 * self.lag]

    def add_foreign(self, tags: dict[str, str]) -> Cluster:
        """A cluster with an HSM that somebody else made."""
        zone = "us-east-1a"
        found = Cluster(_name("cluster"), {zone: "subnet-0000000a"}, tags, "FIPS", self.clock.now, "ACTIVE")
        found.hsms.append(Hsm(_name("hsm"), zone, "subnet-0000000a", "ACTIVE", self.clock.now))
        self.clusters[found.cluster] = found
        return found

    # The API

    def create_cluster(self, asked: dict[str, Any]) -> dict[str, Any]:
        unknown = [subnet for subnet in asked["SubnetIds"] if subnet not in ZONES]
        if unknown or asked["HsmType"] != "hsm2m.medium" or asked.get("Mode") not in {"FIPS", "NON_FIPS"}:
            raise _invalid(f"invalid subnets {unknown}, type or mode")
        tags = {tag["Key"]: tag["Value"] for tag in asked.get("TagList", ())}
        subnets = {ZONES[subnet]: subnet for subnet in asked["SubnetIds"]}
        made = Cluster(_name("cluster"), subnets, tags, asked["Mode"], self.clock.now)
        self.clusters[made.cluster] = made
        self.clock.after(CLUSTER_MADE, lambda: _become(made, "UNINITIALIZED"))
        return {"Cluster": self._shown(made)}

    def describe_clusters(self, asked: dict[str, Any]) -> dict[str, Any]:
        wanted = asked.get("Filters", {}).get("clusterIds")
        found = [each for each in self._visible() if wanted is None or each["ClusterId"] in wanted]
        found.sort(key=_order)
        # The token names the last cluster of the page before, so that nothing is left out when others go meanwhile.
        last = asked.get("NextToken", "")
        rest = [each for each in found if _order(each) > tuple(json.loads(last))] if last else found
        answer: dict[str, Any] = {"Clusters": rest[:PAGE]}
        if len(rest) > PAGE:
            answer["NextToken"] = json.dumps(_order(rest[PAGE - 1]))
        return answer

    def describe_backups(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self.backups.describe(asked)

    def tag_resource(self, asked: dict[str, Any]) -> dict[str, Any]:
        cluster = self._cluster({"ClusterId": asked["ResourceId"]})
        cluster.tags = cluster.tags | {tag["Key"]: tag["Value"] for tag in asked["TagList"]}
        return {}

    def create_hsm(self, asked: dict[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(asked)
        living = [hsm for hsm in cluster.hsms if hsm.state != "DELETED"]
        if cluster.state not in {"UNINITIALIZED", "INITIALIZED", "ACTIVE"}:
            raise _invalid(f"{cluster.cluster} is {cluster.state}")
        if living and cluster.state == "UNINITIALIZED":
            raise _invalid("an uninitialized cluster has one HSM")
        if living and cluster.state == "INITIALIZED" and self.later_hsms_need_activation:
            raise _invalid("the cluster must be activated")
        if len(living) >= self.most_hsms:
            message = "no more HSMs"
            raise ApiError("CloudHsmResourceLimitExceededException", message)
        zone = asked["AvailabilityZone"]
        if zone not in cluster.subnets:
            raise _invalid(f"the cluster has no subnet in {zone}")
        hsm = Hsm(_name("hsm"), zone, cluster.subnets[zone], born=self.clock.now)
        cluster.hsms.append(hsm)
        self.every_hsm.append(hsm)
        if self.failing:
            words = self.failing.pop(0)
            self.clock.after(HSM_MADE / 2, lambda: self._fail(cluster, hsm, words))
        self.clock.after(HSM_MADE, lambda: _become(hsm, "ACTIVE", only_from="CREATE_IN_PROGRESS"))
        if cluster.state != "UNINITIALIZED":
            self.backups.add(cluster.cluster)
        if not cluster.csr:
            self.clock.after(CSR_MADE, lambda: setattr(cluster, "csr", signing_request(cluster.cluster)))
        return {"Hsm": _shown_hsm(cluster, hsm)}

    def initialize_cluster(self, asked: dict[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(asked)
        if cluster.state != "UNINITIALIZED" or not cluster.csr:
            raise _invalid(f"{cluster.cluster} is {cluster.state}")
        check_claim(cluster.csr, asked["SignedCert"], asked["TrustAnchor"])
        cluster.signed, cluster.root = asked["SignedCert"], asked["TrustAnchor"]
        cluster.state = "INITIALIZE_IN_PROGRESS"
        self.clock.after(INITIALISED, lambda: _become(cluster, "INITIALIZED", only_from="INITIALIZE_IN_PROGRESS"))
        self.backups.add(cluster.cluster)
        return {"State": cluster.state, "StateMessage": ""}

    def delete_hsm(self, asked: dict[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(asked)
        hsm = next((each for each in cluster.hsms if each.hsm == asked.get("HsmId")), None)
        if hsm is None:
            raise _missing(asked.get("HsmId"))
        if hsm.state not in {"ACTIVE", "DEGRADED"} or cluster.state == "INITIALIZE_IN_PROGRESS":
            raise _invalid(f"{hsm.hsm} is {hsm.state}, its cluster {cluster.state}")
        self.deleted.append((hsm.hsm, cluster.tags))
        hsm.state = "DELETE_IN_PROGRESS"
        if cluster.signed:
            self.backups.add(cluster.cluster)
        self.clock.after(HSM_GONE, lambda: self._forget(cluster, hsm))
        return {"HsmId": hsm.hsm}

    def delete_cluster(self, asked: dict[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(asked)
        if any(hsm.state != "DELETED" for hsm in cluster.hsms):
            raise _invalid("the cluster has HSMs")
        if cluster.state not in {"UNINITIALIZED", "INITIALIZED", "ACTIVE", "DEGRADED"}:
            raise _invalid(f"{cluster.cluster} is {cluster.state}")
        self.deleted.append((cluster.cluster, cluster.tags))
        cluster.state = "DELETE_IN_PROGRESS"
        self.clock.after(CLUSTER_GONE, lambda: _become(cluster, "DELETED"))
        self.clock.after(CLUSTER_GONE + REMEMBERED, lambda: self.clusters.pop(cluster.cluster))
        return {"Cluster": self._shown(cluster)}

    def tags_of(self, arn: str) -> dict[str, str]:
        found = self.clusters.get(arn.rpartition("/")[2])
        return found.tags if found else {}

    # Within

    def _visible(self) -> list[dict[str, Any]]:
        """What an answer shows: what is, or what some copy has not heard of yet."""
        then = self.clock.now - self.chance.random() * self.lag
        past = [shown for at, shown in self._past if at <= then]
        return deepcopy(past[-1]) if self.lag and past else [self._shown(each) for each in self.clusters.values()]

    def _fail(self, cluster: Cluster, hsm: Hsm, words: str) -> None:
        if hsm.state == "CREATE_IN_PROGRESS":
            hsm.state, hsm.message = "DELETE_IN_PROGRESS", words
            self.clock.after(HSM_GONE, lambda: self._forget(cluster, hsm))

    def _forget(self, cluster: Cluster, hsm: Hsm) -> None:
        """A deleted HSM is shown for a while."""
        hsm.state, hsm.died = "DELETED", hsm.died or self.clock.now
        self.clock.after(REMEMBERED, lambda: cluster.hsms.remove(hsm))

    def _cluster(self, asked: dict[str, Any]) -> Cluster:
        found = self.clusters.get(asked["ClusterId"])
        if found is None or found.state == "DELETED":
            raise _missing(asked["ClusterId"])
        return found

    def _shown(self, cluster: Cluster) -> dict[str, Any]:
        return {
            "ClusterId": cluster.cluster,
            "State": cluster.state,
            "HsmType": "hsm2m.medium",
            "Mode": cluster.mode,
            "CreateTimestamp": cluster.made,
            "SubnetMapping": cluster.subnets,
            "VpcId": "vpc-00000001",
            "SecurityGroup": "sg-00000001",
            "Hsms": [_shown_hsm(cluster, hsm) for hsm in cluster.hsms],
            "Certificates": {"ClusterCsr": cluster.csr} if cluster.csr else {},
            "TagList": [{"Key": key, "Value": value} for key, value in cluster.tags.items()],
        }


def _shown_hsm(cluster: Cluster, hsm: Hsm) -> dict[str, Any]:
    return {
        "ClusterId": cluster.cluster,
        "HsmId": hsm.hsm,
        "AvailabilityZone": hsm.zone,
        "SubnetId": hsm.subnet,
        "EniIp": "10.0.0.17",
        "State": hsm.state,
    } | ({"StateMessage": hsm.message} if hsm.message else {})


def _order(shown: dict[str, Any]) -> tuple[float, str]:
    return shown["CreateTimestamp"], shown["ClusterId"]


def _become(thing: Cluster | Hsm, state: str, *, only_from: str = "") -> None:
    if not only_from or thing.state == only_from:
        thing.state = state


def _name(kind: str) -> str:
    return f"{kind}-{''.join(secrets.choice(_LETTERS) for _ in range(11))}"


def _invalid(message: str) -> ApiError:
    return ApiError("CloudHsmInvalidRequestException", message)


def _missing(name: object) -> ApiError:
    return ApiError("CloudHsmResourceNotFoundException", f"there is no {name}")
