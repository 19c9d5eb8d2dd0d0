"""What to say when a command ends before its run does: what is billed, and what ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icehouse.cloudhsm.cluster import Cluster
    from icehouse.cloudhsm.record import Record
    from icehouse.errors import IcehouseError

END_IT = "'icehouse cloudhsm down' ends it"


def billed(clusters: Iterable[Cluster]) -> list[str]:
    """The HSMs that are billed."""
    return [hsm.hsm for cluster in clusters for hsm in cluster.hsms]


def with_the_bill(error: IcehouseError, record: Record, hsms: Iterable[str]) -> None:
    """Let an error's hint say what is billed, and how to end it."""
    names = list(hsms)
    if record.asked_at:
        names.append("an HSM that AWS has not answered for")
    if not names:
        return
    words = (
        f"{', '.join(names)} of run {record.run} in {record.region}: billed until deleted; {END_IT}, "
        "and 'icehouse cloudhsm status' says whether the teardown will"
    )
    error.hint = f"{error.hint}; {words}" if error.hint else words
