"""Making a trial cluster: look at what there is, do the next step, look again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from icehouse.errors import ConflictError, HsmRefusedError, IcehouseError, MissingExtraError
from icehouse.trial_cluster import teardown
from icehouse.trial_cluster.aws import EXTRA, AwsRefusedError, AwsUnansweredError
from icehouse.trial_cluster.cluster import BUSY, of_run, settling
from icehouse.trial_cluster.hsms import ABSENT, Tally
from icehouse.trial_cluster.last_words import naming_the_bill
from icehouse.trial_cluster.record import ENDS_TAG, TAG
from icehouse.trial_cluster.steps import until_done

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.trial_cluster.aws import Aws
    from icehouse.trial_cluster.cluster import Cluster
    from icehouse.trial_cluster.record import Notebook, Record

_BACKUP_DAYS = "7"
"""The shortest time that AWS keeps a cluster's backups."""
_CLAIMED = frozenset({"INITIALIZED", "ACTIVE"})
_NOT_IN_THIS_STATE = "CloudHsmInvalidRequestException"
_MARGIN = 60
_DOWN_FIRST = "end the run with 'icehouse cloudhsm down', then begin another"

ACTIVATION = """AWS leaves one step to its own command line, on a machine in the cluster's network:
  cp {root} /opt/cloudhsm/etc/customerCA.crt
  /opt/cloudhsm/bin/configure-cli --cluster-id {cluster}
  /opt/cloudhsm/bin/cloudhsm-cli interactive
  aws-cloudhsm > cluster activate
  aws-cloudhsm > login --username admin --role admin
  aws-cloudhsm > user create --username icehouse --role crypto-user"""


def create_cluster(record: Record) -> dict[str, Any]:
    """The call that makes the cluster."""
    wanted = record.wanted
    return {
        "HsmType": wanted.hsm_type,
        "Mode": wanted.mode,
        "SubnetIds": list(wanted.subnets),
        "BackupRetentionPolicy": {"Type": "DAYS", "Value": _BACKUP_DAYS},
        "TagList": [{"Key": TAG, "Value": record.run}, {"Key": ENDS_TAG, "Value": str(record.ends_at)}],
    }


class Raising:
    """One run on its way up. `say` is told what is done."""

    def __init__(
        self, aws: Aws, notebook: Notebook, record: Record, passphrase: str, say: Callable[[str], None]
    ) -> None:
        try:
            from icehouse.trial_cluster import certificate  # noqa: PLC0415  it needs pyca/cryptography
        except ImportError as exc:
            raise MissingExtraError(EXTRA) from exc
        self._key = certificate.root_key(notebook, passphrase)
        self._claim = certificate.claim
        self._aws = aws
        self._notebook = notebook
        self._said: set[str] = set()
        self._tell = say
        self._tally = Tally(aws, notebook, record)
        self._absent, self._claimed_at = 0, 0
        self._cluster: Cluster | None = None
        self.waits_for_activation = False
        """Whether AWS adds the other HSMs only after the cluster was activated."""

    @property
    def record(self) -> Record:
        """The run as it was last written down."""
        return self._tally.record

    def run(self) -> Cluster:
        """Bring the run up; the cluster. Raises `HsmRefusedError` where AWS will not."""
        with naming_the_bill(lambda: self.record, lambda: self._billed, self._tell):
            until_done(self._aws, self._step)
        assert self._cluster is not None  # noqa: S101  the last step has seen it
        return self._cluster

    @property
    def _billed(self) -> list[str]:
        """The HSMs that AWS showed last, and those that it may not show yet."""
        shown = [hsm.hsm for hsm in self._cluster.hsms] if self._cluster else []
        new = self.record.hsms if settling(self._aws, self.record.made_at) else ()
        return sorted({*shown, *new})

    def _say(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            self._tell(words)

    def _step(self) -> bool:
        """Do what comes next; whether nothing does."""
        clusters = of_run(self._aws, self.record)
        cluster = next((each for each in clusters if each.cluster == self.record.cluster), None)
        self._cluster = cluster or self._cluster
        self._check_time()
        if not self.record.cluster:
            return self._begin(clusters)
        if cluster is None:
            return self._is_not_shown()
        self._absent = 0
        self._check_end(cluster)
        self._count(cluster)
        if cluster.state in BUSY:
            self._say(f"{cluster.cluster} is {cluster.state}")
            return False
        if cluster.state == "UNINITIALIZED":
            return self._claim_it(cluster)
        if cluster.state in _CLAIMED:
            return self._fill(cluster)
        msg = f"the cluster {cluster.cluster} is {cluster.state}: {cluster.message}"
        raise HsmRefusedError(msg, hint="end the run with 'icehouse cloudhsm down'")

    def _count(self, cluster: Cluster) -> None:
        """Compare its HSMs with what was agreed to. Whoever stops here leaves an armed teardown to the others."""
        try:
            self._tally.look(cluster)
        except IcehouseError as exc:
            self._say(str(exc))
            self._arm()
            raise

    def _begin(self, clusters: list[Cluster]) -> bool:
        # A cluster that carries the run's tag is one whose answer was lost.
        if clusters:
            self._tally.note(cluster=clusters[0].cluster, asked_at=0, made_at=self._aws.now)
            return False
        if self._tally.waits_for_an_answer:
            self._say("AWS has not answered: waiting whether it shows a cluster")
            return False
        self._say("making a cluster; without HSMs it is not billed")
        self._tally.note(asked_at=self._aws.now)
        try:
            answer = self._aws.call("cloudhsmv2", "create_cluster", once=True, **create_cluster(self.record))
        except AwsUnansweredError:
            raise
        except IcehouseError:
            self._tally.note(asked_at=0)
            raise
        self._tally.note(cluster=answer["Cluster"]["ClusterId"], asked_at=0, made_at=self._aws.now)
        return False

    def _is_not_shown(self) -> bool:
        """What to think of a cluster that AWS does not show: it is new, or gone."""
        self._absent += 1
        if settling(self._aws, self.record.made_at) or self._absent < ABSENT:
            self._say(f"waiting until AWS shows {self.record.cluster}")
            return False
        msg = f"the cluster {self.record.cluster} of this run is gone, or going"
        raise ConflictError(msg, hint=_DOWN_FIRST)

    def _check_end(self, cluster: Cluster) -> None:
        """Refuse to add to what is on its way down, or is no longer known for ours by its tag."""
        msg = ""
        if cluster.going:
            msg = f"the cluster {cluster.cluster} of this run is gone, or going"
        elif cluster.down:
            msg = f"'icehouse cloudhsm down' has begun with {cluster.cluster}, here or elsewhere"
        elif cluster.run != self.record.run:
            msg = f"{cluster.cluster} no longer carries the tag {TAG} of run {self.record.run}"
        if msg:
            raise ConflictError(msg, hint=_DOWN_FIRST)

    def _claim_it(self, cluster: Cluster) -> bool:
        """Give a cluster its first HSM, and sign the request that the HSM makes."""
        if not self.record.hsms:
            return self._add(cluster)
        if not cluster.csr:
            self._say("waiting for the first HSM and its certificate signing request")
            self._check_hsms(cluster)
            return False
        signed, root = self._claim(self._notebook, self._key, cluster.csr, self._aws.now)
        self._notebook.keep("cluster.crt", signed.encode())
        self._say("initialising the cluster with its signed certificate")
        claim: dict[str, Any] = {"ClusterId": cluster.cluster, "SignedCert": signed, "TrustAnchor": root}
        self._claimed_at = self._claimed_at or self._aws.now
        try:
            self._aws.call("cloudhsmv2", "initialize_cluster", once=True, **claim)
        except AwsRefusedError as exc:
            # AWS may show a cluster as it was before an earlier claim.
            if exc.code != _NOT_IN_THIS_STATE or not settling(self._aws, self._claimed_at):
                raise
            self._say(str(exc))
        return False

    def _fill(self, cluster: Cluster) -> bool:
        """Add HSMs until there are as many as were agreed to, and wait for them."""
        self._check_hsms(cluster)
        if self._tally.may_grow and not self.waits_for_activation:
            return self._add(cluster)
        shown = {hsm.hsm for hsm in cluster.hsms if hsm.state == "ACTIVE"}
        return set(self.record.hsms) <= shown and self._arm()

    def _arm(self) -> bool:
        """Whether the teardown was armed; else it is now."""
        if teardown.is_armed(self._aws, self.record):
            return True
        self._say(f"arming the teardown {self.record.name}")
        teardown.arm(self._aws, self.record)
        return False

    def _add(self, cluster: Cluster) -> bool:
        """Add an HSM to the zone that has the fewest: never before the teardown is armed, never after its time."""
        if self._tally.waits_for_an_answer:
            self._say("AWS has not answered: waiting whether it shows an HSM")
            return False
        if not self._arm():
            return False  # arming takes time, in which somebody may have begun to end the run
        taken = Counter(hsm.zone for hsm in cluster.hsms)
        zone = min(cluster.zones, key=lambda name: (taken[name], name))
        self._say(f"asking for HSM {len(self.record.hsms) + 1} of {self.record.wanted.hsms}, in {zone}")
        try:
            name = self._tally.add(cluster, zone)
        except AwsRefusedError as exc:
            if not _needs_activation(cluster, exc):
                raise
            self._say(str(exc))
            self.waits_for_activation = True
        else:
            self._say(f"AWS makes {name}; it is billed from now on")
        return False

    def _check_time(self) -> None:
        if self.record.ends_at - self._aws.now < _MARGIN:
            msg = "the time of this run is over"
            raise ConflictError(msg, hint="end it with 'icehouse cloudhsm down', then begin another")

    def _check_hsms(self, cluster: Cluster) -> None:
        for hsm in cluster.hsms:
            if hsm.state not in {"CREATE_IN_PROGRESS", "ACTIVE"} and hsm.hsm not in self.record.gone:
                raise HsmRefusedError(hsm.words, hint="end the run with 'icehouse cloudhsm down'")


def _needs_activation(cluster: Cluster, refusal: AwsRefusedError) -> bool:
    """Whether AWS refuses another HSM only because a claimed cluster was not activated yet, and says so."""
    of_its_state = refusal.code == _NOT_IN_THIS_STATE and "activ" in str(refusal).lower()
    return cluster.state == "INITIALIZED" and bool(cluster.hsms) and of_its_state
