"""`icehouse cloudhsm` within this process, without the wire between: for what is tried by the hundred."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icehouse.cli import cloudhsm, cloudhsm_report, cloudhsm_run
from icehouse.cli.main import app
from icehouse.cli.printer import explain
from icehouse.trial_cluster.aws import AwsUnansweredError
from servers.aws import REGION
from servers.cloudhsm_trial import SUBNETS, Direct, Killed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.aws import World

KILLED = -9
UP = ("up", "--ttl", "2h", *(part for subnet in SUBNETS for part in ("--subnet", subnet)), "--yes", "--poll", "0")


@dataclass
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


class Acting(Direct):
    """An AWS in which something happens at a command's n-th call: `before` it or `after` it, or to its answer."""

    def __init__(self, world: World, region: str, happenings: dict[int, Callable[[], object] | str]) -> None:
        super().__init__(world, region)
        self.happenings = happenings

    def _ask(
        self, service: str, operation: str, but: tuple[str, ...], later: tuple[str, ...], parameters: dict[str, object]
    ) -> dict[str, Any]:
        number = self.happenings["calls"] = self.happenings.get("calls", -1) + 1
        happening = self.happenings.get(number)
        if callable(happening):
            happening()
        if happening == "killed before":
            raise Killed
        if happening == "deaf":
            raise AwsUnansweredError(happening)
        answer = super()._ask(service, operation, but, later, parameters)
        if happening == "killed after":
            raise Killed
        if happening == "mute":
            raise AwsUnansweredError(happening)
        return answer


@dataclass
class Commands:
    """The commands of one account. `happenings` are those of the command that runs next."""

    world: World
    monkeypatch: Any
    happenings: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def aws(region: str | None = None, *, patience: float = 0) -> Acting:
            del patience
            return Acting(self.world, region or REGION, self.happenings)

        for module in (cloudhsm, cloudhsm_report, cloudhsm_run):
            self.monkeypatch.setattr(module, "Aws", aws)

    def run(self, directory: Path, *arguments: object, happenings: dict[Any, Any] | None = None) -> Said:
        """Run one command in a directory. One that runs in the middle of another has its own happenings."""
        before, self.happenings = self.happenings, happenings or {}
        out, err = io.StringIO(), io.StringIO()
        given = ["cloudhsm", *map(str, arguments), "--state", str(directory)]
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = _code(given)
        finally:
            self.happenings = before
        return Said(code, out.getvalue(), err.getvalue())


def _code(arguments: list[str]) -> int:
    try:
        code = app(args=arguments, prog_name="icehouse", standalone_mode=False)
    except Killed:
        return KILLED
    except AssertionError:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  this is where every error of the command ends, as in `main`
        return explain(error)
    return code if isinstance(code, int) else 0
