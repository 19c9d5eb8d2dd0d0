"""Making a run's HSMs: never more than were agreed to, whatever AWS shows, loses or shows late.

Each is written down before AWS is asked for it and named as soon as AWS has named it. One that vanishes is not made
again by itself: whoever runs `up` agrees to another.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, HsmRefusedError, IcehouseError
from icehouse.trial_cluster.aws import AwsUnansweredError
from icehouse.trial_cluster.cluster import of_run, settling

if TYPE_CHECKING:
    from icehouse.trial_cluster.aws import Aws
    from icehouse.trial_cluster.cluster import Cluster
    from icehouse.trial_cluster.record import Notebook, Record

ABSENT = 5
"""In how many looks in a row a thing must be absent before it is believed to be gone: AWS's copies may differ."""


def vanished(aws: Aws, record: Record, cluster: Cluster) -> dict[str, str]:
    """The HSMs of a run that are gone or going, each with AWS's words."""
    shown = {hsm.hsm: hsm for hsm in (*cluster.hsms, *cluster.gone)}
    words = {}
    for name in record.hsms:
        if name not in shown:
            if not settling(aws, record.made_at):
                words[name] = f"{name} is gone, and AWS says nothing of it any more"
        elif shown[name].going:
            words[name] = shown[name].words
    return words


def renewed(aws: Aws, record: Record) -> tuple[Record, list[str]]:
    """The run without the HSMs that vanished, so that others may be agreed to; and AWS's words on each."""
    lost = dict.fromkeys(record.hsms, "")
    for _ in range(ABSENT):
        cluster = next((each for each in of_run(aws, record) if each.cluster == record.cluster), None)
        now_lost = vanished(aws, record, cluster) if cluster else {}
        lost = {name: now_lost[name] for name in lost if name in now_lost}
        if not lost:
            break
        aws.wait()
    staying = tuple(name for name in record.hsms if name not in lost)
    return replace(record, hsms=staying, gone=(*record.gone, *lost)), list(lost.values())


class Tally:
    """The HSMs that a run has and may still have. `record` is the run as it was last written down."""

    def __init__(self, aws: Aws, notebook: Notebook, record: Record) -> None:
        self._aws, self._notebook = aws, notebook
        self._absent: Counter[str] = Counter()
        self.record = record

    def note(self, **changes: object) -> None:
        """Write down what changed."""
        self.record = self._notebook.note(self.record, **changes)

    @property
    def may_grow(self) -> bool:
        """Whether another HSM was agreed to."""
        return len(self.record.hsms) < self.record.wanted.hsms

    @property
    def waits_for_an_answer(self) -> bool:
        """Whether something that AWS was asked for, without an answer, may still come to light."""
        if settling(self._aws, self.record.asked_at):
            return True
        self.note(asked_at=0)
        return False

    def look(self, cluster: Cluster) -> None:
        """Compare with what AWS shows. Raises `HsmRefusedError` where an HSM vanished, `ConflictError` for too many."""
        known = {*self.record.hsms, *self.record.gone}
        new = tuple(hsm.hsm for hsm in (*cluster.hsms, *cluster.gone) if hsm.hsm not in known)
        if new:
            self.note(hsms=(*self.record.hsms, *new), asked_at=0, made_at=self._aws.now)
        lost = vanished(self._aws, self.record, cluster)
        self._absent = Counter({name: self._absent[name] + 1 for name in lost})
        shown = {hsm.hsm for hsm in (*cluster.hsms, *cluster.gone)}
        sure = [words for name, words in lost.items() if name in shown or self._absent[name] >= ABSENT]
        if sure:
            msg = f"an HSM of this run vanished: {'; '.join(sure)}"
            raise HsmRefusedError(msg, hint="another one is made only if you agree: repeat 'icehouse cloudhsm up'")
        wanted = self.record.wanted.hsms
        living = {*self.record.hsms, *(hsm.hsm for hsm in cluster.hsms if not hsm.going)}
        if len(living) > wanted:
            msg = f"{cluster.cluster} has more HSMs than the {wanted} that were agreed to: {', '.join(sorted(living))}"
            raise ConflictError(msg, hint="delete the others, or end the run")

    def add(self, cluster: Cluster, zone: str) -> str:
        """Ask AWS for one more HSM in a zone; its name. It is billed from then on."""
        first = self.record.first_hsm_at
        self.note(asked_at=self._aws.now, first_hsm_at=first or self._aws.now)
        try:
            answer = self._aws.call(
                "cloudhsmv2", "create_hsm", once=True, ClusterId=cluster.cluster, AvailabilityZone=zone
            )
        except AwsUnansweredError:
            raise
        except IcehouseError:
            self.note(asked_at=0, first_hsm_at=first)
            raise
        name: str = answer["Hsm"]["HsmId"]
        self.note(hsms=(*self.record.hsms, name), asked_at=0, made_at=self._aws.now)
        return name
