"""The options of `icehouse plan`, and the scenario they spell."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Option

from icehouse.errors import RequestError


class PlanFormat(StrEnum):
    """How a plan is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


UsersOption = Annotated[
    str | None, Option("--users", metavar="N[,N…]", help="Numbers of users to plan for, separated by commas.")
]
CatalogueOption = Annotated[
    str, Option("--catalogue", metavar="NAME", help="current, or original: the original strategy's own figures.")
]
PricesOption = Annotated[
    Path | None,
    Option("--prices", metavar="FILE", help="A TOML file of your own prices and limits, over the catalogue."),
]
FormatOption = Annotated[PlanFormat, Option("--format", help="How data is printed.")]
ChartOption = Annotated[
    str | None,
    Option("--chart", metavar="FILE", help="Draw cost against users, or the growth: a .png or .svg, or - in letters."),
]
ProviderOption = Annotated[
    list[str] | None, Option("--provider", metavar="NAME", help="Only this provider; may be repeated.")
]
CustodyOption = Annotated[
    list[str] | None,
    Option("--custody", metavar="NAME", help="Only direct, hybrid, hierarchical or one-key; may be repeated."),
]
RequireOption = Annotated[
    list[str] | None,
    Option(
        "--require",
        metavar="WORDS",
        help="'FIPS 140-3 level 3', 'no cloud', 'single tenant' or 'two providers'; may be repeated.",
    ),
]
AnyDriverOption = Annotated[bool, Option("--any-driver", help="Weigh providers that icehouse cannot open, too.")]
AllOption = Annotated[bool, Option("--all", help="List the choices that cannot work, and why.")]
GrowthOption = Annotated[
    str | None,
    Option("--growth", metavar="MONTH:USERS,…", help="Plan phases along a growth curve through these points."),
]
BreakEvenOption = Annotated[
    str | None,
    Option(
        "--break-even",
        metavar="ONE,OTHER",
        help="Where two choices change places, each written PROVIDER:CUSTODY; in users and in signatures a month.",
    ),
]
SignaturesOption = Annotated[str, Option("--signatures", metavar="N", help="Signatures per user and year.")]
RotationsOption = Annotated[str, Option("--rotations", metavar="N", help="Rotations per user and year.")]
CreationsOption = Annotated[int, Option("--creations", metavar="N", help="Users created in the month.")]
EnrolmentsOption = Annotated[
    int | None, Option("--enrolments", metavar="N", help="Devices enrolled in the month; else as many as creations.")
]
CheckpointsOption = Annotated[int, Option("--checkpoints", metavar="N", help="Signed checkpoints in the month.")]
RecordsOption = Annotated[int, Option("--records", metavar="N", help="Records under one data key, at most 1,024.")]
BucketsOption = Annotated[int, Option("--buckets", metavar="N", help="Hierarchical: buckets; 0 for a node per user.")]
CacheOption = Annotated[
    int, Option("--cache-keys", metavar="N", help="Opened data keys that a process keeps; 0 for none.")
]
HitRateOption = Annotated[
    str, Option("--cache-hit-rate", metavar="0…1", help="The share of ceremonies that find their data key open.")
]
HsmsOption = Annotated[int | None, Option("--hsms", metavar="N", help="HSMs in the cluster, or devices.")]
RegionOption = Annotated[str | None, Option("--region", metavar="NAME", help="Only prices that hold in this region.")]
VersionsOption = Annotated[int, Option("--key-versions", metavar="N", help="Versions of every key kept enabled.")]
CopiesOption = Annotated[int, Option("--backup-copies", metavar="N", help="Further copies of every key or device.")]
PeakOption = Annotated[
    str, Option("--peak-factor", metavar="N", help="How much busier the busiest second is than the average one.")
]
DeviceMonthsOption = Annotated[
    int, Option("--device-months", metavar="N", help="Months over which a bought device is written off.")
]
HsmRateOption = Annotated[
    str | None, Option("--hsm-rate", metavar="N", help="Operations a second that your HSM was measured to do.")
]
SoftwareOption = Annotated[
    int | None,
    Option("--software-until", metavar="N", help="Up to how many users a module without hardware will do."),
]


_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+")


def numbers(text: str) -> list[int]:
    """The whole numbers of a list like `100,2000`; raises `RequestError`."""
    if _THOUSANDS.fullmatch(text):
        msg = f"{text} reads as one number and as several: a comma separates numbers"
        one, several = text.replace(",", ""), text.replace(",", ", ")
        raise RequestError(msg, hint=f"write {one} for one number, or '{several}' for several")
    found = []
    for part in text.split(","):
        word = part.strip().replace("_", "")
        if not (word.isascii() and word.removeprefix("-").isdigit()):
            msg = f"users must be whole numbers separated by commas, not {text!r}"
            raise RequestError(msg)
        found.append(int(word))
    return found
