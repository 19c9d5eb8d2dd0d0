"""What engineers may demand of a choice beyond its price."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icehouse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icehouse.planner.catalogue import Provider

_FIPS = re.compile(r"fips 140-([23])(?: level ([1-4]))?")
_KNOWN = ("FIPS 140-3 level 3", "no cloud", "single tenant", "two providers")


@dataclass(frozen=True, slots=True)
class Constraints:
    """What every provider of a choice must be. `fips` is the standard's part and the least level."""

    fips: tuple[int, int] | None = None
    no_cloud: bool = False
    single_tenant: bool = False
    two_providers: bool = False
    any_driver: bool = False
    """Whether providers that icehouse cannot open may be chosen, too."""

    @classmethod
    def parse(cls, texts: Iterable[str], *, any_driver: bool = False) -> Constraints:
        """The constraints as engineers write them; raises `RequestError`."""
        fips: tuple[int, int] | None = None
        flags = {"no cloud": False, "single tenant": False, "two providers": False}
        for text in texts:
            words = " ".join(text.lower().replace("_", " ").split())
            found = _FIPS.fullmatch(words)
            if found:
                fips = max(fips or (0, 0), (int(found[1]), int(found[2] or 1)))
            elif words in flags:
                flags[words] = True
            else:
                msg = f"a requirement must be one of {', '.join(_KNOWN)}, not {text!r}"
                raise RequestError(msg)
        return cls(
            fips,
            no_cloud=flags["no cloud"],
            single_tenant=flags["single tenant"],
            two_providers=flags["two providers"],
            any_driver=any_driver,
        )

    def unmet(self, provider: Provider) -> list[str]:
        """The requirements that a provider does not meet, in words."""
        found = []
        if self.fips is not None and fips_of(provider) < self.fips:
            found.append(f"FIPS 140-{self.fips[0]} level {self.fips[1]}")
        if self.no_cloud and provider.cloud:
            found.append("no cloud")
        if self.single_tenant and not provider.single_tenant:
            found.append("single tenant")
        return found


def fips_of(provider: Provider) -> tuple[int, int]:
    """The part of FIPS 140 and the level that a provider is validated for; zeros for none."""
    found = _FIPS.fullmatch(f"fips {provider.fips}")
    return (int(found[1]), int(found[2] or 1)) if found else (0, 0)
