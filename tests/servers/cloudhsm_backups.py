"""The backups of AWS CloudHSM: made with every HSM that comes or goes, purged after seven days but for the last."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servers.aws_clock import Clock

_KEPT, _MADE = 7 * 86400, 60
_PAGE = 2


@dataclass
class Backup:
    backup: str
    cluster: str
    made: float
    ready: float


class Backups:
    """What is kept of every cluster, whether or not that is still there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: list[Backup] = []

    def add(self, cluster: str) -> None:
        letters = "".join(secrets.choice("234567abcdefghijklmnopqrstuvwxyz") for _ in range(11))
        self._all.append(Backup(f"backup-{letters}", cluster, self._clock.now, self._clock.now + _MADE))

    def of(self, cluster: str) -> list[str]:
        """The backups of a cluster that are left now."""
        last = {each.cluster: each for each in self._all}
        self._all = [each for each in self._all if each is last[each.cluster] or each.made > self._clock.now - _KEPT]
        return [each.backup for each in self._all if each.cluster == cluster]

    def describe(self, asked: dict[str, Any]) -> dict[str, Any]:
        names = [name for cluster in asked["Filters"]["clusterIds"] for name in self.of(cluster)]
        first = int(asked.get("NextToken", 0))
        page = [each for each in self._all if each.backup in names[first : first + _PAGE]]
        answer: dict[str, Any] = {
            "Backups": [
                {
                    "BackupId": each.backup,
                    "BackupState": "READY" if each.ready <= self._clock.now else "CREATE_IN_PROGRESS",
                    "ClusterId": each.cluster,
                    "CreateTimestamp": each.made,
                }
                for each in page
            ]
        }
        if first + _PAGE < len(names):
            answer["NextToken"] = str(first + _PAGE)
        return answer
