"""What `icehouse plan` was asked: the catalogue, the scenario and what may be chosen, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icehouse.cli.plan_options import numbers
from icehouse.errors import RequestError
from icehouse.planner import Choice, original, reading
from icehouse.planner.choice import choices, custody_of
from icehouse.planner.coefficients import Custody

if TYPE_CHECKING:
    from pathlib import Path

    from icehouse.planner import Constraints, Scenario
    from icehouse.planner.catalogue import Catalogue

ORIGINAL = "original"
_USERS = (100, 1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, read and checked."""

    catalogue: Catalogue
    scenario: Scenario
    users: tuple[int, ...]
    providers: tuple[str, ...]
    custodies: tuple[str, ...]
    constraints: Constraints

    @property
    def choices(self) -> list[Choice]:
        """The choices that were asked about."""
        return choices(
            self.catalogue,
            providers=self.providers,
            custodies=self.custodies,
            two_providers=self.constraints.two_providers,
        )


def read_question(
    name: str,
    prices: Path | None,
    scenario: Scenario,
    users: str | None,
    wanted: tuple[tuple[str, ...], tuple[str, ...]],
    constraints: Constraints,
) -> Question:
    """Read and check what was asked; raises `RequestError`."""
    catalogue = reading.load(name)
    if prices is not None:
        catalogue = reading.read(_text(prices), str(prices), catalogue)
    catalogue.check_region(scenario.region)
    default = original.written_users() if name == ORIGINAL else _USERS
    found = tuple(numbers(users)) if users else tuple(default)
    for number in found:
        replace(scenario, users=number)  # raises RequestError for an absurd one, before anything is printed
    providers, custodies = wanted
    if name == ORIGINAL and not custodies:
        custodies = (Custody.ONE_KEY.value,)
    return Question(catalogue, replace(scenario, users=found[0]), found, providers, custodies, constraints)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        msg = f"{path} cannot be read: {exc.strerror}"
        raise RequestError(msg) from exc
    except UnicodeDecodeError as exc:
        msg = f"{path} is not TOML: it is not UTF-8"
        raise RequestError(msg) from exc


def read_pair(catalogue: Catalogue, text: str) -> tuple[Choice, Choice]:
    """Two choices written PROVIDER:CUSTODY; raises `RequestError`."""
    parts = [part.strip().partition(":") for part in text.split(",")]
    if len(parts) != 2 or not all(colon for _, colon, _ in parts):  # noqa: PLR2004  a pair
        msg = f"two choices are written PROVIDER:CUSTODY,PROVIDER:CUSTODY, not {text!r}"
        raise RequestError(msg, hint="for example --break-even gcp_kms:direct,aws_cloudhsm:direct")
    one, other = (Choice(catalogue.provider(name).name, custody_of(custody)) for name, _, custody in parts)
    if one == other:
        msg = f"{one} breaks even with itself everywhere"
        raise RequestError(msg)
    return one, other
