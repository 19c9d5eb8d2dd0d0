"""What to say when a command ends before its run does: what is billed, and what ends it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from icehouse.errors import IcehouseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from icehouse.trial_cluster.cluster import Cluster
    from icehouse.trial_cluster.record import Record

    Say = Callable[[str], None]

END_IT = "'icehouse cloudhsm down' ends it"


def billed(clusters: Iterable[Cluster]) -> list[str]:
    """The HSMs that are billed."""
    return [hsm.hsm for cluster in clusters for hsm in cluster.hsms]


def the_bill(record: Record, hsms: Iterable[str]) -> str:
    """What is billed, and how to end it; nothing where nothing is."""
    names = list(hsms)
    if record.asked_at:
        names.append("what AWS was asked for and has not answered")
    if not names:
        return ""
    return (
        f"{', '.join(names)} of run {record.run} in {record.region}: billed until deleted; {END_IT}, "
        "and 'icehouse cloudhsm status' says whether the teardown will"
    )


@contextmanager
def naming_the_bill(record: Callable[[], Record], hsms: Callable[[], Iterable[str]], say: Say) -> Iterator[None]:
    """Let whatever goes wrong meanwhile, and Ctrl-C, say what is billed by then."""
    try:
        yield
    except IcehouseError as exc:
        words = the_bill(record(), hsms())
        if words:
            exc.hint = f"{exc.hint}; {words}" if exc.hint else words
        raise
    except KeyboardInterrupt:
        say(f"interrupted; {the_bill(record(), hsms())}")
        raise
