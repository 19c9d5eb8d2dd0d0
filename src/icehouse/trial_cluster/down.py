"""Ending a run: its HSMs first, then its clusters, and last the teardown that would have done the same.

Each cluster is marked before anything of it is deleted, so that no `up`, wherever it runs, adds to it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icehouse.errors import ConflictError, HsmRefusedError, HsmUnavailableError
from icehouse.trial_cluster import teardown
from icehouse.trial_cluster.aws import AwsRefusedError
from icehouse.trial_cluster.cluster import BUSY, of_run, settling
from icehouse.trial_cluster.last_words import billed, naming_the_bill
from icehouse.trial_cluster.record import DOWN_TAG, TAG
from icehouse.trial_cluster.steps import until_done

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.trial_cluster.aws import Aws
    from icehouse.trial_cluster.cluster import Cluster
    from icehouse.trial_cluster.record import Record

_GONE = ("CloudHsmResourceNotFoundException",)
_LOOKS, _SECONDS = 20, 60
"""After so many looks, and so long, a refusal does not pass by itself any more."""
_MAKING = 3600
"""Seconds that AWS may take to make something that cannot be deleted before."""
_DISARMING = 1800
_NOT_FOR_US = frozenset({"CloudHsmAccessDeniedException", "AccessDeniedException", "CloudHsmTagException"})


def lower(aws: Aws, record: Record, say: Callable[[str], None]) -> Lowering:
    """Delete everything of a run, and return when AWS says that nothing is left. What was done is the answer's.

    Raises `HsmRefusedError` where AWS refuses for good, and `ConflictError` where a cluster of the run does not carry
    its tag. The teardown is armed until nothing is left for it to do.
    """
    lowering = Lowering(aws, record, say)
    lowering.run()
    return lowering


class Lowering:
    """One run on its way down. `clusters` are those it had, and `hsms` those that were deleted now."""

    def __init__(self, aws: Aws, record: Record, say: Callable[[str], None]) -> None:
        self._aws, self._record, self._tell = aws, record, say
        self._said: set[str] = set()
        self._last: list[Cluster] = []
        self._since, self._looks, self._began = 0, 0, 0
        self.clusters: set[str] = {record.cluster} if record.cluster else set()
        self.hsms: set[str] = set()

    def run(self) -> None:
        """Delete it."""
        with naming_the_bill(lambda: self._record, lambda: billed(self._last), self._tell):
            until_done(self._aws, self._step)
        self._say(f"disarming the teardown {self._record.name}")
        until_done(self._aws, self._disarm)
        for part in teardown.left(self._aws, self._record):
            self._say(f"left alone: the {part} {self._record.name} does not carry the tag {TAG} of this run; no bill")

    def _say(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            self._tell(words)

    def _step(self) -> bool:
        clusters = of_run(self._aws, self._record)
        changed = [(each.state, each.hsms) for each in clusters] != [(each.state, each.hsms) for each in self._last]
        if changed or not self._since:
            self._since, self._looks = self._aws.now, 0
        self._last, self._looks = clusters, self._looks + 1
        ours = [each for each in clusters if each.run == self._record.run]
        refusals = [refusal for cluster in ours for refusal in self._delete(cluster)]
        self._give_up(refusals, making=_is_made(ours))
        if len(ours) < len(clusters) and not ours:
            self._refuse_strangers(clusters)
        return not clusters and self._is_gone()

    def _delete(self, cluster: Cluster) -> list[AwsRefusedError]:
        """Delete what can be deleted of a cluster; what AWS refused."""
        self.clusters.add(cluster.cluster)
        if not cluster.down and not cluster.going:
            self._mark(cluster)
        asked = []
        for hsm in cluster.hsms:
            if not hsm.going:
                self._say(f"deleting {hsm.hsm} of {cluster.cluster}")
                self.hsms.add(hsm.hsm)
                asked.append(self._asked("delete_hsm", ClusterId=cluster.cluster, HsmId=hsm.hsm))
        if not cluster.hsms and not cluster.going:
            self._say(f"deleting {cluster.cluster}")
            asked.append(self._asked("delete_cluster", ClusterId=cluster.cluster))
        return [refusal for refusal in asked if refusal]

    def _asked(self, operation: str, **parameters: Any) -> AwsRefusedError | None:  # noqa: ANN401  whatever AWS names
        try:
            self._aws.call("cloudhsmv2", operation, but=_GONE, **parameters)
        except AwsRefusedError as exc:
            self._say(str(exc))
            return exc
        return None

    def _mark(self, cluster: Cluster) -> None:
        mark = [{"Key": DOWN_TAG, "Value": str(self._aws.now)}]
        try:
            self._aws.call("cloudhsmv2", "tag_resource", but=_GONE, ResourceId=cluster.cluster, TagList=mark)
        except AwsRefusedError as exc:
            self._say(f"no mark can be left on {cluster.cluster}, so an 'up' elsewhere is not stopped by it: {exc}")

    def _give_up(self, refusals: list[AwsRefusedError], *, making: bool) -> None:
        """Raise a refusal that does not pass by itself."""
        lasted = self._aws.now - self._since
        for refusal in refusals:
            if refusal.code in _NOT_FOR_US:
                raise _final(refusal)
        if refusals and lasted >= (_MAKING if making else _SECONDS) and self._looks >= _LOOKS:
            raise _final(refusals[0])

    def _refuse_strangers(self, clusters: list[Cluster]) -> None:
        name, run = clusters[0].cluster, self._record.run
        msg = f"{name} is of run {run} by its id, but does not carry its tag {TAG}: it is not deleted"
        tag = f"aws cloudhsmv2 tag-resource --resource-id {name} --tag-list Key={TAG},Value={run}"
        raise ConflictError(
            msg, hint=f"the teardown is left as it is; give the tag back ({tag}) and repeat 'icehouse cloudhsm down'"
        )

    def _is_gone(self) -> bool:
        """Whether a cluster that AWS does not show is not there: its copies may be late, its deletion is not."""
        name = self._record.cluster
        if not name and settling(self._aws, self._record.asked_at):
            self._say("AWS has not answered: waiting whether it shows a cluster")
            return False
        if not name or any(each.cluster == name and each.going for each in self._last):
            return True
        if not any(teardown.left(self._aws, self._record).values()):
            return True  # it was disarmed before, or never had an HSM
        try:
            answer = self._aws.call("cloudhsmv2", "delete_cluster", but=_GONE, ClusterId=name)
        except AwsRefusedError as exc:
            self._say(str(exc))
            self._give_up([exc], making=False)
            return False
        return not answer

    def _disarm(self) -> bool:
        self._began = self._began or self._aws.now
        if not any(teardown.left(self._aws, self._record).values()):
            return True
        try:
            teardown.disarm(self._aws, self._record)
            ours = [part for part, own in teardown.left(self._aws, self._record).items() if own]
        except AwsRefusedError as exc:
            hint = "no HSM is left, and nothing is billed; repeat 'icehouse cloudhsm down' with these permissions"
            raise AwsRefusedError(str(exc), code=exc.code, hint=hint) from exc
        if ours and self._aws.now - self._began > _DISARMING:
            msg = f"AWS still deletes the {', the '.join(ours)} {self._record.name}"
            raise HsmUnavailableError(msg, hint="nothing is billed any more; repeat 'icehouse cloudhsm down' later")
        return not ours


def _is_made(clusters: list[Cluster]) -> bool:
    """Whether AWS itself says that something is not ready to be deleted."""
    states = {hsm.state for cluster in clusters for hsm in cluster.hsms}
    return "CREATE_IN_PROGRESS" in states or any(cluster.state in BUSY for cluster in clusters)


def _final(refusal: AwsRefusedError) -> HsmRefusedError:
    hint = "the teardown was left as it is; mend what AWS names and repeat 'icehouse cloudhsm down'"
    return AwsRefusedError(str(refusal), code=refusal.code, hint=hint)
