"""One random history of a trial: commands here and elsewhere, a stranger in the account, late answers, and kills.

What must hold at every moment, and at the end, is checked here; a test and `make soak` differ in how many they run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icehouse.trial_cluster.record import TAG
from servers.aws import World
from servers.aws_clock import ApiError
from servers.cloudhsm_commands import UP, Commands, Said
from servers.cloudhsm_trial import FOREIGN, Place, left

if TYPE_CHECKING:
    from pathlib import Path

_ELSEWHERE = "eu-west-1"
_ANEW = "going on makes another one in its place"
_REFUSALS = (
    ("CreateHsm", "CloudHsmResourceLimitExceededException"),
    ("CreateHsm", "CloudHsmServiceException"),
    ("DeleteHsm", "CloudHsmInvalidRequestException"),
    ("DeleteHsm", "CloudHsmAccessDeniedException"),
    ("DeleteHsm", "Throttling"),
    ("DeleteCluster", "CloudHsmInternalFailureException"),
    ("DescribeClusters", "ThrottlingException"),
    ("GetRole", "AccessDenied"),
    ("DeleteRole", "AccessDenied"),
    ("TagResource", "CloudHsmTagException"),
    ("CreateSchedule", "ServiceQuotaExceededException"),
)


class HistoryError(AssertionError):
    """What must never happen, happened; the history is in the message."""


@dataclass
class History:
    """One history, the same for the same seed."""

    seed: int
    directory: Path
    monkeypatch: Any
    told: list[str] = field(default_factory=list)
    agreed: int = 0
    runs: set[str] = field(default_factory=set)
    depth: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  the same every time
        self.world = World(tick=self.chance.choice([15, 30, 60]))
        self.strangers = FOREIGN.put_into(self.world)
        self.world.hsm.lag = self.chance.choice([0, 0, 60, 150])
        self.world.hsm.chance.seed(self.seed)
        self.commands = Commands(self.world, self.monkeypatch)
        self.place = Place(self.world, self.directory / "run").with_a_key()
        self.cluster_tags: dict[str, dict[str, str]] = {}

    # What happens

    def go(self) -> None:
        """Let it all happen, and see what is left."""
        self.up()
        for _ in range(self.chance.randrange(2, 7)):
            self.chance.choice([self.up, self.up, self.down, self.status, self.elsewhere, self.stranger, self.wait])()
        self.end()

    def up(self) -> None:
        self.run(self.place.notebook.directory, *UP)

    def down(self) -> None:
        self.run(self.place.notebook.directory, "down", "--poll", "0")

    def status(self) -> None:
        self.run(self.place.notebook.directory, "status")

    def elsewhere(self) -> None:
        """A command where the run's directory is lost, in this region, in another, or with a name that is none."""
        run = self.place.record.run if self.place.record else "0" * 16
        named = self.chance.choice([run, run, run, "1" * 16])
        region = self.chance.choice(["us-east-1", "us-east-1", _ELSEWHERE])
        verb = self.chance.choice([("down", "--poll", "0"), ("status",)])
        before = len(self.world.changes)
        given = (*verb, "--run", named, "--region", region)
        said = self.run(self.directory / "elsewhere", *given, happenings={})
        if (named != run or region == _ELSEWHERE) and (said.code == 0 or len(self.world.changes) != before):
            raise HistoryError(self.words("a run that is not there was ended"))

    def stranger(self) -> None:
        """Somebody else in the account does something to what is ours."""
        record, hsms = self.place.record, self.world.hsm.billed
        if record is None or not record.cluster:
            return
        cluster = self.world.hsm.clusters.get(record.cluster)
        deeds: list[Any] = [lambda: self.world.iam.roles.pop(record.name, None), self._disable, self._refuse]
        if hsms:
            deeds.append(lambda: self.world.hsm.delete_behind(self.chance.choice(hsms)))
        if cluster:
            deeds.append(lambda: self._untag(cluster))
        deed = self.chance.choice(deeds)
        deed()
        self.told.append(f"-- a stranger: {deed.__name__}, {self.world.refusals}")

    def _disable(self) -> None:
        for key, each in self.world.teardowns.schedules.items():
            self.world.teardowns.schedules[key] = {**each, "State": "DISABLED"}

    def _untag(self, cluster: Any) -> None:
        self.cluster_tags.setdefault(cluster.cluster, cluster.tags)
        cluster.tags = {key: value for key, value in cluster.tags.items() if key != TAG}

    def _refuse(self) -> None:
        action, code = self.chance.choice(_REFUSALS)
        self.world.refusals = {action: ApiError(code, "somebody changed something")}

    def wait(self) -> None:
        self.world.refusals = {}
        self.world.advance(self.chance.choice([60, 600, 3600]))

    def run(self, directory: Path, *arguments: object, happenings: dict[Any, Any] | None = None) -> Said:
        """Run a command; in the middle of it something happens, or two things do."""
        if happenings is None:
            happenings = dict(self._happening() for _ in range(self.chance.randrange(3)))
        if self.chance.random() < 0.2:
            self.world.hsm.failing = ["no capacity"]
        self.depth += 1
        said = self.commands.run(directory, *arguments, happenings=happenings)
        self.depth -= 1
        self.world.hsm.failing = []
        self.agreed += said.err.count(_ANEW)
        self.runs |= {self.place.record.run} if self.place.record else set()
        self.told.append(f"$ {' '.join(map(str, arguments))} -> {said.code}\n{said.err}")
        if "a fault in icehouse" in said.err:
            raise HistoryError(self.words("a traceback"))
        self.check()
        return said

    def _happening(self) -> tuple[int, Any]:
        what = self.chance.choice(["killed before", "killed after", "deaf", "mute", self.stranger, self.elsewhere])
        return self.chance.randrange(60), what

    # What must hold

    def check(self) -> None:
        """Never more HSMs than were agreed to: of a cluster at once, and of all runs together."""
        for cluster in self._ours():
            living = [hsm for hsm in cluster.hsms if hsm.state in {"CREATE_IN_PROGRESS", "ACTIVE"}]
            if len(living) > 2:
                raise HistoryError(self.words("more HSMs at once than were agreed to"))
        # What a command agreed to in whose middle this is, its words say at its end.
        made, allowed = len(self.world.hsm.every_hsm), 2 * len(self.runs) + self.agreed
        if not self.depth and made > allowed:
            raise HistoryError(self.words(f"{made} HSMs were made, {allowed} agreed to"))

    def _ours(self) -> list[Any]:
        foreign = {each.cluster for each in self.strangers["clusters"]}
        return [each for each in self.world.hsm.clusters.values() if each.cluster not in foreign]

    def end(self) -> None:
        """Nobody comes back for three days; then what is billed must be said, with what ends it, and end by it."""
        self.world.refusals = {}
        self.world.advance(3 * 86400)
        self.world.hsm.lag = 0
        billed = [hsm.hsm for hsm in self.world.hsm.billed]
        last = self.commands.run(self.place.notebook.directory, "status")
        self.told.append(f"$ status -> {last.code}\n{last.err}{last.out}")
        said = last.code == 2 and all(hsm in last.err for hsm in billed) and "cloudhsm down" in last.err
        if billed and not said:
            raise HistoryError(self.words("what is billed is not said"))
        for cluster in self._ours():
            cluster.tags = self.cluster_tags.get(cluster.cluster, cluster.tags)  # as `down` asks for
        if self.place.record:
            last = self.commands.run(self.place.notebook.directory, "down", "--poll", "0")
            self.told.append(f"$ down -> {last.code}\n{last.err}")
        if self.world.hsm.billed or left(self.world):
            raise HistoryError(self.words(f"left: {left(self.world)}"))
        if FOREIGN.found_in(self.world) != self.strangers:
            raise HistoryError(self.words("something foreign was touched"))

    def words(self, fault: str) -> str:
        return "\n".join([f"history {self.seed}: {fault}", *self.told])
