"""Everything that was seen on the wire of one vault, and what must never be seen there."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field


def payload_of(compact: str) -> dict[str, object]:
    """The payload of a message or an answer; a bare refusal is its own."""
    if compact.startswith("{"):
        return json.loads(compact)
    part = compact.split(".")[1]
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@dataclass
class Ledger:
    """Raises `AssertionError` at the first answer that contradicts an earlier one."""

    offers: dict[tuple[str, int], str] = field(default_factory=dict)
    commits: dict[tuple[str, int], str] = field(default_factory=dict)
    abandoned: set[str] = field(default_factory=set)
    rounds: dict[str, str] = field(default_factory=dict)

    def note(self, message: str, answer: str) -> str:
        """Keep one answer, and give it on."""
        said = payload_of(answer)
        match said["type"]:
            case "offer":
                group = said["group"]
                assert isinstance(group, dict)
                self._once(self.offers, (group["key"], group["epoch"]), said["offer_id"], "two offers have one number")
            case "committed":
                assert said["offer_id"] not in self.abandoned, "an offer was abandoned, and then committed"
                self._once(self.commits, (said["key"], said["epoch"]), said["offer_id"], "an epoch was applied twice")
            case "abandoned":
                assert said["offer_id"] not in self.commits.values(), "an offer was committed, and then abandoned"
                self.abandoned.add(str(said["offer_id"]))
            case "cosigned":
                for commitment in (said["hiding"], said["binding"]):
                    self._once(self.rounds, commitment, message, "one commitment answered two requests")
        return answer

    @staticmethod
    def _once(seen: dict, place: object, value: object, wrong: str) -> None:
        assert seen.setdefault(place, value) == value, f"{wrong}: {place}"
