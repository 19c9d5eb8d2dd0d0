"""What one setting is: its type, its unit, its default and its bounds; and which environment variables are ours."""

from __future__ import annotations

import math
import re
from dataclasses import MISSING, dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from icehouse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from dataclasses import Field

PREFIX = "ICEHOUSE_"
VARIABLES = {
    "ICEHOUSE_VAULT": "the vault, where --vault is not given",
    "ICEHOUSE_PASSPHRASE": "the passphrase of a device file, or of a trial cluster's root key",
    "ICEHOUSE_TOKEN": "an enrolment token, where --token-file is not given",
    "ICEHOUSE_CLOUDHSM_STATE": "the directory of a trial cluster, where --state is not given",
}
"""What the command line reads beside settings."""
_TESTS = f"{PREFIX}TEST_"
# What Kubernetes and Docker set for a service of the name icehouse, or icehouse-db: nobody asked for it.
_SERVICE = re.compile(
    r"ICEHOUSE_(?!_)(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_LONGEST = 65_536
_SHOWN = 10**18
_KINDS: dict[str, type[str | int | float]] = {"str": str, "int": int, "float": float}
_CALLED = {str: "text", int: "a whole number", float: "a number"}


def text(what: str, *, default: str = "", required: bool = False, secret: bool = False) -> Any:  # noqa: ANN401  a field
    """A field of text. `secret`: it may hold a password, and is not shown."""
    kept = MISSING if required else default
    return field(default=kept, repr=not secret, metadata={"what": what, "required": required})


def number(default: float, least: float, most: float, unit: str, what: str) -> Any:  # noqa: ANN401  a field
    """A field for a number between two bounds, each included."""
    return field(default=default, metadata={"what": what, "unit": unit, "bounds": (least, most)})


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table of settings. A value that has passed is of the type and within the bounds."""

    attribute: str
    kind: type[str | int | float]
    default: str | int | float | None
    unit: str
    bounds: tuple[float, float] | None
    what: str

    @classmethod
    def of(cls, described: Field[Any]) -> Setting:
        """The row of a field of `Settings`; `None` as its default says that it must be given."""
        facts = described.metadata
        default = None if described.default is MISSING else described.default
        kind = _KINDS[str(described.type)]
        return cls(described.name, kind, default, facts.get("unit", ""), facts.get("bounds"), facts.get("what", ""))

    @property
    def name(self) -> str:
        """What it is called in the file, `section.field`."""
        return self.attribute.replace("_", ".", 1)

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"{PREFIX}{self.attribute.upper().replace('_', '__', 1)}"

    def checked(self, value: object) -> Any:  # noqa: ANN401  of the setting's type
        """Return a value of the right type within the bounds, or raise `RequestError`. A text is never repeated."""
        if self.kind is str:
            return self._checked_text(value)
        if isinstance(value, bool) or not isinstance(value, int if self.kind is int else int | float):
            shown = "text" if isinstance(value, str) else repr(value)
            msg = f"the setting {self.name} must be {_CALLED[self.kind]}, not {shown}"
            raise RequestError(msg)
        least, most = self.bounds or (-math.inf, math.inf)
        if not (least <= value <= most and math.isfinite(value)):
            unit = f" {self.unit}" if self.unit else ""
            short = isinstance(value, float) or -_SHOWN < value < _SHOWN
            given = str(value) if short else "one of many digits"
            msg = f"the setting {self.name} must be between {least:,} and {most:,}{unit}, not {given}"
            raise RequestError(msg)
        return value

    def _checked_text(self, value: object) -> str:
        if not isinstance(value, str):
            msg = f"the setting {self.name} must be text"
            raise RequestError(msg)
        if len(value) > _LONGEST:
            msg = f"the setting {self.name} must have at most {_LONGEST:,} characters, not {len(value):,}"
            raise RequestError(msg)
        return value

    def parsed(self, words: str) -> Any:  # noqa: ANN401  of the setting's type
        """The value that an environment variable gives."""
        if self.kind is str:
            return self.checked(words)
        if not (_WHOLE if self.kind is int else _DECIMAL).fullmatch(words):
            msg = f"{self.variable} must be {_CALLED[self.kind]}, not {words[:32]!r}"
            raise RequestError(msg)
        return self.checked(self.kind(words))


def check_variables(named: Iterable[str], settings: Iterable[Setting]) -> None:
    """Refuse an environment variable that has our prefix and that nobody reads: it may be a setting, misspelt.

    Only names are looked at. Variables of tests, and of services that are called icehouse, are nobody's mistake.
    """
    known = {*VARIABLES, *(setting.variable for setting in settings)}
    for name in sorted(named):
        if not name.startswith(PREFIX) or name in known or name.startswith(_TESTS):
            continue
        if "__" not in name and _SERVICE.fullmatch(name):
            continue
        close = get_close_matches(name, known, n=1)
        hint = f"was {close[0]} meant? Else unset it" if close else "docs/reference/settings.md lists them; unset it"
        msg = f"there is no setting or variable {name}"
        raise RequestError(msg, hint=hint)
