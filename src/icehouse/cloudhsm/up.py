"""Making a trial cluster: look at what there is, do the next step, look again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from icehouse.cloudhsm import teardown
from icehouse.cloudhsm.aws import EXTRA
from icehouse.cloudhsm.cluster import of_run
from icehouse.cloudhsm.record import TAG
from icehouse.cloudhsm.steps import until_done
from icehouse.errors import ConflictError, HsmRefusedError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.cloudhsm.aws import Aws
    from icehouse.cloudhsm.cluster import Cluster
    from icehouse.cloudhsm.record import Notebook, Record

_BACKUP_DAYS = "7"
"""The shortest time that AWS keeps a cluster's backups."""
_BUSY = frozenset({"CREATE_IN_PROGRESS", "INITIALIZE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "MODIFY_IN_PROGRESS"})
_CLAIMED = frozenset({"INITIALIZED", "ACTIVE"})
_MARGIN = 60

ACTIVATION = """AWS leaves one step to its own command line, on a machine in the cluster's network:
  cp {root} /opt/cloudhsm/etc/customerCA.crt
  /opt/cloudhsm/bin/configure-cli --cluster-id {cluster}
  /opt/cloudhsm/bin/cloudhsm-cli interactive
  aws-cloudhsm > cluster activate
  aws-cloudhsm > login --username admin --role admin
  aws-cloudhsm > user create --username icehouse --role crypto-user"""


def create_cluster(record: Record) -> dict[str, object]:
    """The call that makes the cluster."""
    wanted = record.wanted
    return {
        "HsmType": wanted.hsm_type,
        "Mode": wanted.mode,
        "SubnetIds": list(wanted.subnets),
        "BackupRetentionPolicy": {"Type": "DAYS", "Value": _BACKUP_DAYS},
        "TagList": [{"Key": TAG, "Value": record.run}],
    }


class Raising:
    """One run on its way up. `say` is told what is done."""

    def __init__(
        self, aws: Aws, notebook: Notebook, record: Record, passphrase: str, say: Callable[[str], None]
    ) -> None:
        try:
            from icehouse.cloudhsm import certificate  # noqa: PLC0415  it needs pyca/cryptography
        except ImportError as exc:
            raise MissingExtraError(EXTRA) from exc
        self._key = certificate.root_key(notebook, passphrase)
        self._claim = certificate.claim
        self._aws = aws
        self._notebook = notebook
        self._said: set[str] = set()
        self._tell = say
        self.record = record
        self.waits_for_activation = False
        """Whether AWS adds the other HSMs only after the cluster was activated."""

    def run(self) -> Cluster:
        """Bring the run up; the cluster. Raises `HsmRefusedError` where AWS will not."""
        until_done(self._aws, self._step)
        return self._ours()

    def _say(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            self._tell(words)

    def _ours(self) -> Cluster:
        return next(each for each in of_run(self._aws, self.record) if each.cluster == self.record.cluster)

    def _step(self) -> bool:
        """Do what comes next; whether nothing does."""
        clusters = of_run(self._aws, self.record)
        self._check_time()
        if not self.record.cluster:
            return self._begin(clusters)
        cluster = next((each for each in clusters if each.cluster == self.record.cluster), None)
        if cluster is None or cluster.going:
            msg = f"the cluster {self.record.cluster} of this run is gone, or going"
            raise ConflictError(msg, hint="end the run with 'icehouse cloudhsm down', then begin another")
        if cluster.state in _BUSY:
            self._say(f"{cluster.cluster} is {cluster.state}")
            return False
        if cluster.state == "UNINITIALIZED":
            return self._claim_it(cluster)
        if cluster.state in _CLAIMED:
            return self._fill(cluster)
        msg = f"the cluster {cluster.cluster} is {cluster.state}: {cluster.message}"
        raise HsmRefusedError(msg, hint="end the run with 'icehouse cloudhsm down'")

    def _begin(self, clusters: list[Cluster]) -> bool:
        # A cluster that carries the run's tag is one whose answer was lost.
        if not clusters:
            self._say("making a cluster; without HSMs it is not billed")
            answer = self._aws.call("cloudhsmv2", "create_cluster", once=True, **create_cluster(self.record))
            found = answer["Cluster"]["ClusterId"]
        else:
            found = clusters[0].cluster
        self.record = self._notebook.note(self.record, cluster=found)
        return False

    def _claim_it(self, cluster: Cluster) -> bool:
        """Give a cluster its first HSM, and sign the request that the HSM makes."""
        if not cluster.hsms:
            return self._add(cluster)
        if not cluster.csr:
            self._say("waiting for the first HSM and its certificate signing request")
            self._check_hsms(cluster)
            return False
        signed, root = self._claim(self._notebook, self._key, cluster.csr, self._aws.now)
        self._notebook.keep("cluster.crt", signed.encode())
        self._say("initialising the cluster with its signed certificate")
        claim = {"ClusterId": cluster.cluster, "SignedCert": signed, "TrustAnchor": root}
        self._aws.call("cloudhsmv2", "initialize_cluster", once=True, **claim)
        return False

    def _fill(self, cluster: Cluster) -> bool:
        """Add HSMs until there are as many as were asked for, and wait for them."""
        self._check_hsms(cluster)
        staying = [hsm for hsm in cluster.hsms if not hsm.going]
        if len(staying) < self.record.wanted.hsms and not self.waits_for_activation:
            return self._add(cluster)
        return all(hsm.state == "ACTIVE" for hsm in staying)

    def _add(self, cluster: Cluster) -> bool:
        """Add an HSM to the zone that has the fewest: never before the teardown is armed, never after its time."""
        if not teardown.is_armed(self._aws, self.record):
            self._say(f"arming the teardown {self.record.name}")
            teardown.arm(self._aws, self.record)
        taken = Counter(hsm.zone for hsm in cluster.hsms)
        zone = min(cluster.zones, key=lambda name: (taken[name], name))
        if not self.record.first_hsm_at:
            self.record = self._notebook.note(self.record, first_hsm_at=self._aws.now)
        self._say(
            f"adding HSM {len(cluster.hsms) + 1} of {self.record.wanted.hsms}, in {zone}; it is billed from now on"
        )
        try:
            self._aws.call("cloudhsmv2", "create_hsm", once=True, ClusterId=cluster.cluster, AvailabilityZone=zone)
        except HsmRefusedError:
            # A claimed cluster with an HSM is worth something without the others.
            if cluster.state != "INITIALIZED" or not cluster.hsms:
                raise
            self.waits_for_activation = True
        return False

    def _check_time(self) -> None:
        if self.record.ends_at - self._aws.now < _MARGIN:
            msg = "the time of this run is over"
            raise ConflictError(msg, hint="end it with 'icehouse cloudhsm down', then begin another")

    def _check_hsms(self, cluster: Cluster) -> None:
        for hsm in cluster.hsms:
            if hsm.state not in {"CREATE_IN_PROGRESS", "ACTIVE"} and not hsm.going:
                msg = f"{hsm.hsm} is {hsm.state}"
                raise HsmRefusedError(msg, hint="end the run with 'icehouse cloudhsm down'")
